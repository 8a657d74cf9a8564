"""Features that look at one spectrum at a time: reading spectra, learning and mapping."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError, ModelError, SceneError, counted
from hypercover.features.feature import Progress, check_range, empty_stack, feature_scene
from hypercover.scene.scene import Scene

__all__ = [
    "Floats",
    "check_band_count",
    "check_bands",
    "check_components",
    "check_variance",
    "draw_spectra",
    "fix_signs",
    "map_spectra",
    "mean_and_covariance",
    "varying_bands",
]

Floats = npt.NDArray[np.float64]

_MOST_COMPONENTS = 2**16
_BLOCK = 2**13
"""Spectra held at once as float64."""
_SAME = 1e-9
"""A band whose spread is below this share of its size is constant."""
_NEGLIGIBLE = 1e-12
"""A direction with less than this share of the largest variance is none."""


def check_components(components: object, feature: str) -> int:
    """Return the number of components asked for after checking that it is one."""
    whole = isinstance(components, int | np.integer) and not isinstance(components, bool)
    if whole and 1 <= components < _MOST_COMPONENTS:  # type: ignore[operator]
        return int(components)  # type: ignore[call-overload, no-any-return]
    raise CallError(
        f"{feature} must be asked for at least 1 component, got {components!r}; use for "
        "example 5."
    )


def check_band_count(components: int, bands: int, feature: str) -> None:
    """Refuse more straight components than there are bands."""
    if components > bands:
        raise CallError(
            f"{feature} was asked for {components} components of {counted(bands, 'band')}; ask "
            f"for at most {bands}."
        )


def _blocks_of(scene: Scene) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
    """Go through all pixels with data: their places (2, n) and spectra (n, band)."""
    everything = slice(None)
    for strip in scene.strips():
        cube = scene.read(strip, everything)
        places = np.stack(np.nonzero(scene.valid[strip]))
        for start in range(0, places.shape[1], _BLOCK):
            row, col = places[:, start : start + _BLOCK]
            spectra = cube[:, row, col].T.astype(np.float64)
            check_range(spectra, scene)
            yield np.stack((row + strip.start, col)), spectra


def map_spectra(
    scene: Scene,
    function: Callable[[Floats], Floats],
    names: Sequence[str],
    progress: Progress | None = None,
) -> Scene:
    """Return the scene whose bands are a function of its spectra, block by block.

    Parameters
    ----------
    function : callable
        Takes spectra (n, band) and returns features (n, feature).
    names : sequence of str
        Name of each feature.
    progress : callable, optional
        Called with the pixels done and the pixels in all.
    """
    values, done = empty_stack(scene, len(names)), 0
    total = int(scene.valid.sum())
    for (row, col), spectra in _blocks_of(scene):
        values[:, row, col] = function(spectra).T
        done += len(row)
        if progress is not None:
            progress(done, total)
    return feature_scene(scene, values, names)


def check_bands(scene: Scene, bands: int, feature: str) -> None:
    """Refuse a scene with another number of bands than a feature was fitted on."""
    if scene.n_bands != bands:
        raise ModelError(
            f"{feature} was fitted on {counted(bands, 'band')} and the scene {scene.name} has "
            f"{scene.n_bands}; give it the same bands."
        )


def _count_valid(scene: Scene) -> int:
    count = int(scene.valid.sum())
    if count == 0:
        raise SceneError(
            f"The image {scene.name} has no pixel with data in all bands, so no feature "
            "can be learnt from it; drop the bands without data."
        )
    return count


def draw_spectra(scene: Scene, count: int, seed: int) -> Floats:
    """Draw spectra (n, band) of at most so many pixels with data, each at most once."""
    _count_valid(scene)
    places = np.flatnonzero(scene.valid)
    if len(places) > count:
        places = np.sort(np.random.default_rng(seed).choice(places, count, replace=False))
    rows, cols = np.unravel_index(places, scene.shape)
    parts, everything = [], slice(None)
    for strip in scene.strips():
        here = (rows >= strip.start) & (rows < strip.stop)
        if here.any():
            cube = scene.read(strip, everything)
            parts.append(cube[:, rows[here] - strip.start, cols[here]].T)
    spectra = np.concatenate(parts).astype(np.float64)
    check_range(spectra, scene)
    return spectra


def mean_and_covariance(scene: Scene) -> tuple[Floats, Floats]:
    """Return mean (band,) and covariance (band, band) over all pixels with data."""
    count = _count_valid(scene)
    mean = np.zeros(scene.n_bands)
    for _, spectra in _blocks_of(scene):
        mean += spectra.sum(axis=0) / count
    square = np.zeros((scene.n_bands, scene.n_bands))
    for _, spectra in _blocks_of(scene):
        spectra -= mean
        square += spectra.T @ spectra
    return mean, square / max(1, count - 1)


def varying_bands(mean: Floats, spread: Floats) -> npt.NDArray[np.bool_]:
    """Tell which bands are more than one value repeated, give or take rounding."""
    return np.asarray(spread > _SAME * np.maximum(np.abs(mean), np.finfo(float).tiny))


def check_variance(variances: Floats, components: int, scene: Scene, feature: str) -> None:
    """Refuse more components than the pixels of a scene vary in.

    Parameters
    ----------
    variances : array
        Variance along each direction, falling.
    """
    largest = max(float(variances[0]), np.finfo(float).tiny) if len(variances) else 1.0
    there = int((variances > _NEGLIGIBLE * largest).sum())
    if there < components:
        some = f"{there} direction{'s' if there != 1 else ''}" if there else "none at all"
        raise SceneError(
            f"{feature} was asked for {components} components, and the "
            f"{int(scene.valid.sum())} pixels of {scene.name} with data vary in {some}; "
            "ask for fewer, or use more pixels and bands that are not constant."
        )


def fix_signs(directions: Floats) -> Floats:
    """Return directions (n, component) whose largest entry is positive.

    Eigenvectors have no sign of their own; giving them one makes equal scenes
    give equal features.
    """
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(directions.shape[1])])
    return np.asarray(directions * np.where(signs == 0, 1.0, signs))
