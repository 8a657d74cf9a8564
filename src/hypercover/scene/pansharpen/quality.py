"""Quality of pansharpened bands by Wald's protocol: SAM, ERGAS and Q.

There are no measured fine bands to compare with.  Therefore both images are made
coarser by the ratio, the coarse pair is sharpened, and the result is compared with
the measured bands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.pansharpen.fusion import Injection, pansharpen
from hypercover.scene.pansharpen.registration import Registration, area_means, register
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, load_or_compute
from hypercover.scene.tiling import bounding_slice, lazy_cube, strips, tiles
from hypercover.types import Array, Arrays, Indices, Progress

_BLOCK = 32
"""Side of the blocks in which Q is computed, in pixels."""
Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Quality:
    """Distance of bands from their reference."""

    method: str
    """How the bands were made."""
    sam: float
    """Spectral angle in degrees, mean over the pixels; 0 is best."""
    ergas: float
    """Relative error over all bands (Wald 2000), in %; 0 is best."""
    q: float
    """Universal image quality index (Wang and Bovik 2002), mean over blocks of 32 × 32
    pixels and bands; 1 is best."""
    pixels: int
    """Pixels compared."""


def wald_quality(
    pan: Scene,
    bands: Scene,
    injections: Sequence[Injection] = ("none", "additive", "proportional"),
    *,
    store: TileStore | None = None,
    progress: Progress | None = None,
) -> list[Quality]:
    """Degrade a pair by its ratio, sharpen it, and compare it with the measured bands.

    Degrading takes the mean over the area of the coarse pixel, with the sub-pixel
    phase of the georeferences.  Images are read strip by strip.  ``none`` is plain
    interpolation, the baseline for sharpening.

    Parameters
    ----------
    pan, bands : Scene
        As :func:`~hypercover.scene.pansharpen.fusion.pansharpen` takes them.
    injections : sequence of {"none", "additive", "proportional"}
        Methods to compare.
    store : TileStore, optional
        Keeps finished comparisons
        (:func:`~hypercover.scene.tile_store.open_tile_store`).
    progress : callable, optional
        Called with the rows compared and the rows in all, over all methods.

    Raises
    ------
    SceneError
        If the two cannot be registered, or are too small to be made coarser.

    References
    ----------
    Wald, L., Ranchin, T., and Mangolini, M. "Fusion of satellite images of different
    spatial resolutions: assessing the quality of resulting images." PE&RS 63(6), 1997.

    Examples
    --------
    >>> from hypercover.scene.simulation.city import quickbird_pair
    >>> pair = quickbird_pair(160, 240, seed=0)
    >>> plain, additive = wald_quality(pair.pan, pair.bands, ["none", "additive"])
    >>> plain.method, additive.method, plain.pixels
    ('interpolation', 'additive', 2400)
    """
    laid = register(pan.grid, bands.grid)
    coarse = _on_grid(pan, bands, laid), _means(bands, round(laid.ratio))

    def compare(number: int) -> Arrays:
        """Sharpen the coarse pair in one way, and measure the result."""

        def report(done: int, total: int) -> None:
            if progress is not None:
                progress(number * total + done, len(injections) * total)

        sharp = pansharpen(*coarse, injection=injections[number])
        made = compare_bands(sharp, bands, ratio=laid.ratio, progress=report)
        return {"figures": np.array([made.sam, made.ergas, made.q, made.pixels])}

    like = {"figures": np.empty(4)}
    results = load_or_compute(store, "comparison", len(injections), lambda _: like, compare)
    qualities = []
    for injection, result in zip(injections, results, strict=True):
        sam, ergas, q, pixels = result["figures"].tolist()
        method = "interpolation" if injection == "none" else injection
        qualities.append(Quality(method, sam, ergas, q, int(pixels)))
    return qualities


def _lazy_scene(
    scene: Scene, grid: Grid, read: Callable[[Indices, slice, slice], Array]
) -> Scene:
    shape = (scene.n_bands, *grid.shape)
    cube = with_grid(lazy_cube(shape, np.float32, read), grid)
    return Scene(cube, name=scene.name, **scene.origin)


def _on_grid(pan: Scene, bands: Scene, laid: Registration) -> Scene:
    """Return the panchromatic image as means over the pixels of the bands."""
    inverse = laid.inverse()

    def read(_bands: Indices, *parts: slice) -> Array:
        edges = [inverse.edges(axis, part) for axis, part in enumerate(parts)]
        result = np.full([len(each) - 1 for each in edges], np.nan)
        # Only pixels that the panchromatic image covers completely have a mean.
        inside = [
            (each >= -1e-6) & (each <= size + 1e-6)
            for each, size in zip(edges, pan.shape, strict=True)
        ]
        whole = [np.flatnonzero(each[:-1] & each[1:]) for each in inside]
        if all(map(len, whole)):
            used = [bounding_slice(each) for each in whole]
            cut = [
                np.clip(each[part.start : part.stop + 1], 0, size)
                for each, part, size in zip(edges, used, pan.shape, strict=True)
            ]
            result[tuple(used)] = _averaged(pan, cut)
        return result[None].astype(np.float32)

    return _lazy_scene(pan, bands.grid, read)


def _averaged(pan: Scene, edges: Sequence[Values]) -> Values:
    """Average a panchromatic image between edges; NaN where any part has no data."""
    parts = [slice(int(each[0]), int(np.ceil(each[-1]))) for each in edges]
    values, valid = pan.read_valid(*parts)
    sums: Values
    held: Values
    sums, held = np.where(valid, values[0], 0).astype(np.float64), valid.astype(np.float64)
    for axis, (each, part) in enumerate(zip(edges, parts, strict=True)):
        sums = area_means(sums, each - part.start, axis)
        held = area_means(held, each - part.start, axis)
    return np.where(held > 1 - 1e-6, sums, np.nan)


def _means(bands: Scene, factor: int) -> Scene:
    """Return the bands as means over squares of factor × factor pixels."""
    rows, cols = (size // factor for size in bands.shape)
    if min(rows, cols) < 4:
        raise SceneError(
            f"The multispectral image of {bands.shape[0]} × {bands.shape[1]} pixels is too "
            f"small to be made {factor} times coarser; give at least {4 * factor} pixels "
            "each way."
        )
    a, b, c, d, e, f = bands.grid.transform
    wide = (factor * a, b, c, d, factor * e, f)
    grid = Grid(rows, cols, bands.grid.crs, wide)

    def read(layers: Indices, down: slice, across: slice) -> Array:
        parts = [slice(part.start * factor, part.stop * factor) for part in (down, across)]
        values, valid = bands.read_valid(*parts)
        measured = np.where(valid, values[layers], np.nan)
        high, wide = down.stop - down.start, across.stop - across.start
        squares = measured.reshape(len(layers), high, factor, wide, factor)
        return np.asarray(squares.mean(axis=(2, 4), dtype=np.float64), dtype=np.float32)

    return _lazy_scene(bands, grid, read)


def compare_bands(
    bands: Scene, reference: Scene, *, ratio: float, progress: Progress | None = None
) -> Quality:
    """Compare bands with a reference on the same grid, where both have data.

    Parameters
    ----------
    bands, reference : Scene
        Of one shape.
    ratio : float
        Ratio of coarse to fine pixel size, which scales ERGAS.
    progress : callable, optional
        Called with the rows compared and the rows in all.

    Raises
    ------
    SceneError
        If their shapes differ or no pixel has data in both.
    """
    if bands.cube.shape != reference.cube.shape:
        raise SceneError(
            f"Bands are compared with a reference of the same shape, got {bands.cube.shape} "
            f"against {reference.cube.shape}; cut both alike."
        )
    angles, count, done = 0.0, 0, 0
    squares, sums = np.zeros(bands.n_bands), np.zeros(bands.n_bands)
    indices: list[Values] = []
    for part in strips(reference.shape[0], 2 * _BLOCK):
        made, held = bands.read_valid(part, slice(None))
        true, measured = reference.read_valid(part, slice(None))
        made, true, valid = (
            made.astype(np.float64),
            true.astype(np.float64),
            held & measured,
        )
        pair = made[:, valid], true[:, valid]
        angles += float(_angles(*pair).sum())
        squares += np.square(pair[0] - pair[1]).sum(axis=1)
        sums += pair[1].sum(axis=1)
        count += int(valid.sum())
        for tile in tiles(valid.shape, _BLOCK):
            block = tile.rows, tile.cols
            if tile.pixels == _BLOCK**2 and valid[block].all():
                squared = (len(made), -1)
                indices.append(
                    _index(
                        made[:, *block].reshape(squared), true[:, *block].reshape(squared)
                    )
                )
        done += len(valid)
        if progress is not None:
            progress(done, reference.shape[0])
    if not count:
        raise SceneError("The two images hold data nowhere together; give a larger pair.")
    relative = squares / count / np.square(sums / count)
    return Quality(
        "",
        sam=angles / count,
        ergas=100 / ratio * float(np.sqrt(relative.mean())),
        q=float(np.mean(indices)) if indices else float("nan"),
        pixels=count,
    )


def _angles(one: Values, other: Values) -> Values:
    """Return the angle in degrees between spectra (band, n)."""
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    cosines = (one * other).sum(axis=0) / np.where(lengths > 0, lengths, 1)
    angles = np.arccos(np.clip(np.where(lengths > 0, cosines, 1), -1, 1))
    return np.asarray(np.degrees(angles))


def _index(one: Values, other: Values) -> Values:
    """Return Wang and Bovik's Q of each row: correlation, contrast and luminance."""
    means, others = one.mean(axis=1), other.mean(axis=1)
    covariance = ((one - means[:, None]) * (other - others[:, None])).mean(axis=1)
    spread = one.var(axis=1) + other.var(axis=1)
    light = means**2 + others**2
    contrast = np.where(spread > 0, 2 * covariance / np.where(spread > 0, spread, 1), 1)
    luminance = 2 * means * others / np.where(light > 0, light, 1)
    return contrast * np.where(light > 0, luminance, 1)
