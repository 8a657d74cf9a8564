"""Quality of pansharpened bands by Wald's protocol: SAM, ERGAS and Q.

There are no measured fine bands to compare with.  Therefore both images are made
coarser by the ratio, the coarse pair is sharpened, and the result is compared with
the measured bands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.pansharpen.fusion import Injection, pansharpen
from hypercover.scene.pansharpen.registration import Registration, register
from hypercover.scene.pansharpen.resampling import area_means
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore, load_or_compute
from hypercover.scene.tiling import strips, tiles
from hypercover.types import Array, Arrays, Mask, Progress

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
    """
    laid = register(pan.grid, bands.grid)
    coarse = _on_grid(pan, bands, laid), _means(bands, round(laid.ratio))

    def compare(number: int) -> Arrays:
        """Sharpen the coarse pair in one way, and measure the result."""
        sharp = pansharpen(*coarse, injection=injections[number])
        part = _part_of(progress, number, len(injections))
        made = compare_bands(sharp, bands, ratio=laid.ratio, progress=part)
        return {"figures": np.array([made.sam, made.ergas, made.q, made.pixels])}

    like = {"figures": np.empty(4)}
    results = load_or_compute(store, "comparison", len(injections), lambda _: like, compare)
    qualities = []
    for injection, result in zip(injections, results, strict=True):
        method = "interpolation" if injection == "none" else injection
        sam, ergas, q, pixels = result["figures"].tolist()
        qualities.append(Quality(method, sam, ergas, q, int(pixels)))
    return qualities


def _part_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Return a callback that reports one of several equal steps as part of them all."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, count * total)


def _lazy_scene(scene: Scene, shape: tuple[int, int, int], grid: Grid, fetch: partial[
    Array
]) -> Scene:  # fmt: skip
    data = LazyArray(shape, np.float32, fetch).as_variable_data()
    cube = xr.DataArray(data, dims=("band", "y", "x"))
    return Scene(with_grid(cube, grid), name=scene.name, **scene.origin)


def _on_grid(pan: Scene, bands: Scene, laid: Registration) -> Scene:
    """Return the panchromatic image as means over the pixels of the bands."""
    fetch = partial(_fetch_on_grid, pan, laid.inverse())
    return _lazy_scene(pan, (1, *bands.shape), bands.grid, fetch)


def _fetch_on_grid(pan: Scene, laid: Registration, wanted: Indices) -> Array:
    _, *places = wanted
    parts = [bounding_slice(place) for place in places]
    edges = [laid.edges(axis, part) for axis, part in enumerate(parts)]
    # Only pixels that the panchromatic image covers completely have a mean.
    inside = [(each >= -1e-6) & (each <= size + 1e-6)
              for each, size in zip(edges, pan.shape, strict=True)]  # fmt: skip
    result = np.full(tuple(part.stop - part.start for part in parts), np.nan)
    whole = [each[:-1] & each[1:] for each in inside]
    if whole[0].any() and whole[1].any():
        used = [_run(each) for each in whole]
        cut = [np.clip(each[one.start : one.stop + 1], 0, size)
               for each, one, size in zip(edges, used, pan.shape, strict=True)]  # fmt: skip
        result[tuple(used)] = _averaged(pan, cut)
    picked = result[
        np.ix_(*(at - part.start for at, part in zip(places, parts, strict=True)))
    ]
    return picked[None].astype(np.float32)


def _run(flags: Mask) -> slice:
    return bounding_slice(np.flatnonzero(flags))


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
    fetch = partial(_fetch_means, bands, factor)
    return _lazy_scene(bands, (bands.n_bands, rows, cols), grid, fetch)


def _fetch_means(bands: Scene, factor: int, wanted: Indices) -> Array:
    layers, rows, cols = wanted
    down, across = bounding_slice(rows), bounding_slice(cols)
    values, valid = bands.read_valid(
        slice(down.start * factor, down.stop * factor),
        slice(across.start * factor, across.stop * factor),
    )
    known = np.where(valid, values[layers], np.nan)
    shape = (
        len(layers),
        down.stop - down.start,
        factor,
        across.stop - across.start,
        factor,
    )
    means = known.reshape(shape).mean(axis=(2, 4), dtype=np.float64)
    picked = means[:, rows - down.start][:, :, cols - across.start]
    return np.asarray(picked, dtype=np.float32)


def compare_bands(
    bands: Scene,
    reference: Scene,
    *,
    ratio: float,
    method: str = "",
    progress: Progress | None = None,
) -> Quality:
    """Compare bands with a reference on the same grid, where both have data.

    Parameters
    ----------
    bands, reference : Scene
        Of one shape.
    ratio : float
        Ratio of coarse to fine pixel size, which scales ERGAS.
    method : str
        How the bands were made.
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
    angles, squares, sums, count = 0.0, np.zeros(bands.n_bands), np.zeros(bands.n_bands), 0
    indices: list[Values] = []
    done = 0
    for made, true, valid in _strips(bands, reference):
        one, other = made[:, valid], true[:, valid]
        angles += float(_angles(one, other).sum())
        squares += np.square(one - other).sum(axis=1)
        sums += other.sum(axis=1)
        count += int(valid.sum())
        indices.extend(_block_indices(made, true, valid))
        done += len(valid)
        if progress is not None:
            progress(done, reference.shape[0])
    if not count:
        raise SceneError("The two images hold data nowhere together; give a larger pair.")
    relative = squares / count / np.square(sums / count)
    return Quality(
        method,
        sam=angles / count,
        ergas=100 / ratio * float(np.sqrt(relative.mean())),
        q=float(np.mean(indices)) if indices else float("nan"),
        pixels=count,
    )


def _strips(bands: Scene, reference: Scene) -> Iterator[tuple[Values, Values, Mask]]:
    for part in strips(reference.shape[0], 2 * _BLOCK):
        made, known = bands.read_valid(part, slice(None))
        true, measured = reference.read_valid(part, slice(None))
        yield made.astype(np.float64), true.astype(np.float64), known & measured


def _angles(one: Values, other: Values) -> Values:
    """Return the angle in degrees between spectra (band, n)."""
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    cosines = (one * other).sum(axis=0) / np.where(lengths > 0, lengths, 1)
    angles = np.arccos(np.clip(np.where(lengths > 0, cosines, 1), -1, 1))
    return np.asarray(np.degrees(angles))


def _block_indices(made: Values, true: Values, valid: Mask) -> Iterator[Values]:
    """Return Q of each band in each block without missing data."""
    for tile in tiles(valid.shape, _BLOCK):
        block = tile.rows, tile.cols
        if tile.pixels == _BLOCK**2 and valid[block].all():
            pair = made[:, *block], true[:, *block]
            yield _index(*(values.reshape(len(made), -1) for values in pair))


def _index(one: Values, other: Values) -> Values:
    """Return Wang and Bovik's Q of each row: correlation, contrast and luminance."""
    means, them = one.mean(axis=1), other.mean(axis=1)
    covariance = ((one - means[:, None]) * (other - them[:, None])).mean(axis=1)
    spread = one.var(axis=1) + other.var(axis=1)
    light = means**2 + them**2
    contrast = np.where(spread > 0, 2 * covariance / np.where(spread > 0, spread, 1), 1)
    return contrast * np.where(
        light > 0, 2 * means * them / np.where(light > 0, light, 1), 1
    )
