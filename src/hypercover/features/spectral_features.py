"""Reading and transforming the spectra of a scene, for features of single pixels."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hypercover.errors import CallError, ModelError, SceneError, counted
from hypercover.features.feature import check_range, empty_stack, feature_scene
from hypercover.scene.scene import Scene
from hypercover.types import Floats, Indices, Mask, Progress

_MOST_COMPONENTS = 2**16
_BLOCK = 2**13
"""Spectra processed at a time."""
_SAME = 1e-9
"""A band whose standard deviation is below this share of its mean is constant."""
_NEGLIGIBLE = 1e-12
"""Directions with less than this share of the largest variance do not count."""


def check_components(components: object, feature: str) -> int:
    """Return the number of components after checking it."""
    whole = isinstance(components, int | np.integer) and not isinstance(components, bool)
    if whole and 1 <= components < _MOST_COMPONENTS:  # type: ignore[operator]
        return int(components)  # type: ignore[call-overload, no-any-return]
    raise CallError(
        f"The components of {feature} must be a whole number of at least 1 component, got "
        f"{components!r}; use for example 5."
    )


def check_band_count(components: int, bands: int, feature: str) -> None:
    """Refuse more linear components than bands."""
    if components > bands:
        raise CallError(
            f"{feature} cannot compute {components} components from {counted(bands, 'band')}; "
            f"use at most {bands}."
        )


def _blocks_of(scene: Scene) -> Iterator[tuple[Indices, Floats]]:
    """Yield the rows and columns (2, n) and the spectra (n, band) of all valid pixels."""
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
    """Apply a function to all spectra and return the results as a scene.

    Parameters
    ----------
    function : callable
        Takes spectra (n, band) and returns features (n, feature).
    names : sequence of str
        Name of each feature.
    progress : callable, optional
        Called with the number of completed and of all pixels.
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
    """Refuse a scene whose number of bands differs from that of the fit."""
    if scene.n_bands != bands:
        raise ModelError(
            f"{feature} was fitted on {counted(bands, 'band')} and the scene {scene.name} has "
            f"{scene.n_bands}; use a scene with the same bands."
        )


def _count_valid(scene: Scene) -> int:
    count = int(scene.valid.sum())
    if count == 0:
        raise SceneError(
            f"The image {scene.name} has no pixel with data in all bands, so features cannot "
            "be fitted to it; drop the bands without data."
        )
    return count


def draw_spectra(scene: Scene, count: int, seed: int) -> Floats:
    """Draw the spectra (n, band) of up to ``count`` valid pixels without replacement."""
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
    """Return the mean (band,) and covariance (band, band) over all valid pixels."""
    count = _count_valid(scene)
    mean = np.zeros(scene.n_bands)
    for _, spectra in _blocks_of(scene):
        mean += spectra.sum(axis=0) / count
    square = np.zeros((scene.n_bands, scene.n_bands))
    for _, spectra in _blocks_of(scene):
        spectra -= mean
        square += spectra.T @ spectra
    return mean, square / max(1, count - 1)


def varying_bands(mean: Floats, spread: Floats) -> Mask:
    """Return which bands are not constant, up to rounding."""
    return np.asarray(spread > _SAME * np.maximum(np.abs(mean), np.finfo(float).tiny))


def check_variance(variances: Floats, components: int, scene: Scene, feature: str) -> None:
    """Refuse more components than the spectra of a scene have dimensions.

    Parameters
    ----------
    variances : array
        Variance along each direction, in descending order.
    """
    largest = max(float(variances[0]), np.finfo(float).tiny) if len(variances) else 1.0
    rank = int((variances > _NEGLIGIBLE * largest).sum())
    if rank < components:
        directions = f"only {counted(rank, 'direction')}" if rank else "no direction"
        raise SceneError(
            f"{feature} cannot compute {components} components: the "
            f"{int(scene.valid.sum())} valid pixels of {scene.name} vary in {directions}; "
            "use fewer components, or more pixels and bands that are not constant."
        )


def fix_signs(directions: Floats) -> Floats:
    """Flip directions (n, component) so that the largest entry of each is positive.

    The sign of an eigenvector is arbitrary; fixing it makes features reproducible.
    """
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(directions.shape[1])])
    return np.asarray(directions * np.where(signs == 0, 1.0, signs))


def squared_distances(left: Floats, right: Floats) -> Floats:
    """Return squared distances (left, right) between rows."""
    squares = left @ right.T
    squares *= -2.0
    squares += np.einsum("ij,ij->i", left, left)[:, None]
    squares += np.einsum("ij,ij->i", right, right)
    return np.asarray(np.maximum(squares, 0.0, out=squares))
