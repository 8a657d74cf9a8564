"""Pansharpening: details of a fine panchromatic image added to coarser bands.

The panchromatic image is smoothed to the resolution of the bands by the
undecimated wavelet transform.  The details that smoothing removes are those the
bands lack (the ARSIS concept).

The quality is measured by Wald's protocol.  There are no measured fine bands to compare
with, so both images are made coarser by the ratio, the coarse pair is sharpened, and the
result is compared with the measured bands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import CallError, SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.metadata import clean_header, select_header_bands, with_header
from hypercover.scene.nodata import without_nodata
from hypercover.scene.pansharpen import registration
from hypercover.scene.scene import Scene, check_magnitude, largest_of
from hypercover.scene.tile_store import TileStore, load_or_compute, scene_identity
from hypercover.scene.tiling import Tile, bounding_slice, lazy_cube, strips, tiles
from hypercover.types import Array, Arrays, Floats, Indices, Mask, Progress

Injection = Literal["additive", "proportional", "none"]
INJECTIONS: tuple[str, ...] = get_args(Injection)
Values = npt.NDArray[np.floating]
_STRIP = 256
"""Rows of a tile while the statistics are gathered."""
_AROUND = 4
"""Pixels of the bands read around a tile, so that its gaps are filled as the whole's."""


def pansharpen(
    pan: Scene,
    bands: Scene,
    *,
    injection: Injection = "additive",
    keep_pan: bool = False,
    store: TileStore | None = None,
    progress: Progress | None = None,
) -> Scene:
    """Sharpen the bands of an image with a finer panchromatic image of the same place.

    Ratio and sub-pixel phase come from the georeferences.  The bands are
    interpolated to the fine grid.  The panchromatic image is matched to each of them
    (its mean to that of the band; its gain such that its low-passed image has the
    standard deviation of the band), and its wavelet planes are added or multiplied
    in.

    The cube of the result is computed on reading, so an image of any size can be
    written tile by tile.  The statistics are gathered here, in one pass over both
    images.

    Parameters
    ----------
    pan : Scene
        The fine image, of one band.
    bands : Scene
        The coarse image.
    injection : {"additive", "proportional", "none"}
        Add the planes; or multiply the band by the ratio of the matched panchromatic
        image to its low-passed one, which preserves ratios between bands better; or
        neither, which is plain cubic interpolation.
    keep_pan : bool
        Put the panchromatic image in front as a band of its own.
    store : TileStore, optional
        Keeps finished tiles of the statistics
        (:func:`~hypercover.scene.tile_store.open_tile_store`).
    progress : callable, optional
        Called with the tiles done and the tiles in all.

    Returns
    -------
    Scene
        On the grid of ``pan``, in the type of ``bands``, rounded if that is an integer
        type; no data where either image has none.

    Raises
    ------
    SceneError
        If ``pan`` has several bands, or the two do not fit onto one another (see
        :func:`~hypercover.scene.pansharpen.registration.register`).
    CallError
        If the injection is unknown.

    References
    ----------
    Núñez, J., et al. IEEE TGRS 37(3), 1999.  Ranchin, T., and Wald, L. "Fusion of
    high spatial and spectral resolution images: the ARSIS concept and its
    implementation." PE&RS 66(1), 2000.

    Examples
    --------
    >>> from hypercover.scene.simulation.city import quickbird_pair
    >>> pair = quickbird_pair(160, 240, seed=0)
    >>> pansharpen(pair.pan, pair.bands).cube.shape
    (4, 160, 240)
    """
    if injection not in INJECTIONS:
        raise CallError(
            f"The injection must be one of {', '.join(INJECTIONS)}, got {injection!r}; "
            "additive is the usual one."
        )
    if pan.n_bands != 1:
        raise SceneError(
            f"The panchromatic image must have one band, found {pan.n_bands} in "
            f"{pan.name}; give the panchromatic image first and the bands second."
        )
    alignment = registration.register(pan.grid, bands.grid)
    stacked = np.result_type(bands.cube.dtype, pan.cube.dtype)
    dtype = (stacked if keep_pan else bands.cube.dtype).newbyteorder("=")
    sharp = _Sharpening(pan, bands, alignment, injection, keep_pan, dtype)
    matched = _match(sharp, store, progress) if injection != "none" else None
    shape = (bands.n_bands + keep_pan, *pan.shape)
    cube = lazy_cube(shape, dtype, partial(_sharpened, sharp, matched))
    cube.attrs = dict(without_nodata(bands.cube).attrs)
    if keep_pan:
        # Lists with an entry for each band have none for the panchromatic one.
        header = clean_header(select_header_bands(bands.header, (), bands.n_bands))
        cube = with_header(cube, header)
    if dtype.kind != "f" or bands.nodata is not None:
        cube.attrs["nodata"] = sharp.nodata
    notes = [
        f"Pansharpened ({injection}) at a ratio of {alignment.ratio:.4g} with "
        f"{alignment.levels} wavelet planes of {pan.name}."
    ]
    grid = pan.grid
    without, other = (bands, pan) if grid.crs else (pan, bands)
    if other.grid.crs and not without.grid.crs:
        grid = replace(grid, crs=other.grid.crs)
        notes.append(
            f"{without.name} names no coordinate system; that of {other.name} was taken."
        )
    return Scene(
        with_grid(_described(cube, pan, bands, keep_pan), grid),
        name=bands.name,
        simulated=pan.simulated or bands.simulated,
        stand_in=pan.stand_in or bands.stand_in,
        notes=(*bands.notes, *notes),
    )


def pansharpen_plan(
    pan: Scene, bands: Scene, *, injection: str = "additive", keep_pan: bool = False
) -> dict[str, Any]:
    """Return everything the pansharpened image of a pair depends on, as JSON."""
    return {
        "pan": scene_identity(pan),
        "bands": scene_identity(bands),
        "injection": injection,
        "keep pan": keep_pan,
    }


def _described(
    cube: xr.DataArray, pan: Scene, bands: Scene, keep_pan: bool
) -> xr.DataArray:
    """Add the coordinates of the bands to the cube."""
    coords = bands.cube.coords
    names = ("band", "wavelength", "fwhm", "bad", "band_name")
    columns = {name: coords[name].values for name in names if name in coords}
    if keep_pan:
        own = bands.band_names or tuple(f"ms{number}" for number in bands.bands)
        columns = {
            name: np.concatenate([pan.cube.coords[name].values, columns[name]])
            for name in ("wavelength", "fwhm")
            if name in columns and name in pan.cube.coords
        }
        columns["band_name"] = np.array(["pan", *own])
        if "bad" in coords:
            columns["bad"] = np.concatenate([[False], coords["bad"].values])
    return cube.assign_coords({name: ("band", each) for name, each in columns.items()})


_LEAST_PIXELS = 0.1
"""Share of a band's mean below which the smoothed image is not divided by."""


class Moments:
    """Mean and standard deviation of each row of values, accumulated part by part.

    Examples
    --------
    >>> moments = Moments(1)
    >>> moments.add(np.array([[1.0, 2.0]]))
    >>> moments.add(np.array([[6.0]]))
    >>> moments.mean.tolist(), (moments.deviation**2).round(3).tolist()
    ([3.0], [4.667])
    """

    def __init__(self, rows: int) -> None:
        self.count = 0
        self.mean = np.zeros(rows)
        self._squares = np.zeros(rows)

    def add(self, values: Values) -> None:
        """Add values (row, n)."""
        self.merge(self.of(values))

    @staticmethod
    def of(values: Values) -> Floats:
        """Return count, mean and squared deviations (3, row) of values (row, n)."""
        count = values.shape[1]
        if not count:
            return np.zeros((3, len(values)))
        mean = values.mean(axis=1, dtype=np.float64)
        squares = np.square(values - mean[:, None]).sum(axis=1, dtype=np.float64)
        return np.stack([np.full(len(values), float(count)), mean, squares])

    def merge(self, piece: Floats) -> None:
        """Add the statistics of a part by the update of Chan, Golub and LeVeque (1979)."""
        counts, mean, squares = piece
        count = int(counts[0])
        if not count:
            return
        total = self.count + count
        apart = mean - self.mean
        self.mean = self.mean + apart * (count / total)
        self._squares = self._squares + squares + apart**2 * (self.count * count / total)
        self.count = total

    @property
    def deviation(self) -> Floats:
        """Standard deviation of each row."""
        return np.sqrt(self._squares / max(self.count, 1))


@dataclass(frozen=True, eq=False)
class BandMatch:
    """Linear match of a panchromatic image to each band: gain · pan + offset."""

    gain: Floats
    """Gain of each band (band,); 0 if the panchromatic image is constant."""
    offset: Floats
    """Offset of each band (band,)."""
    least: Floats
    """Smallest value of the smoothed image (band,) that is divided by."""

    @classmethod
    def of(cls, grey: Moments, smooth: Moments, bands: Moments) -> "BandMatch":
        """Match means, and the deviation of the smoothed image to that of each band.

        The bands are smooth themselves; matching the deviation before smoothing would
        make the details too weak.
        """
        flat = smooth.deviation[0] <= 1e-9 * abs(grey.mean[0])
        gain = np.zeros_like(bands.mean) if flat else bands.deviation / smooth.deviation[0]
        offset, least = bands.mean - gain * grey.mean[0], _LEAST_PIXELS * np.abs(bands.mean)
        return cls(gain, offset, least)

    def injected(
        self, band: Values, grey: Values, low: Values, position: int, injection: str
    ) -> Values:
        """Inject the details of a panchromatic image (row, col) into a band on its grid.

        Where the smoothed image is below a tenth of the band's mean, the ratio would
        blow up, and the details are added.
        """
        gain, offset = float(self.gain[position]), float(self.offset[position])
        detail = gain * (grey - low)
        if injection == "additive":
            return band + detail
        smooth = gain * low + offset
        usable = smooth > float(self.least[position])
        ratio = np.where(usable, band / np.where(usable, smooth, 1), 1)
        return band + ratio * detail


@dataclass(frozen=True, eq=False)
class _Sharpening:
    """A registered pair of images and the settings of its fusion."""

    pan: Scene
    bands: Scene
    alignment: registration.Registration
    injection: Injection
    keep_pan: bool
    dtype: np.dtype[Any]

    @property
    def nodata(self) -> float:
        """Value that means no data in the result."""
        if self.bands.nodata is not None:
            return self.bands.nodata
        return float("nan") if self.dtype.kind == "f" else 0.0

    def pan_around(self, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Read the panchromatic image (row, col) with the margin of its transform."""
        margin = registration.filter_radius(self.alignment.levels)
        inside, padding = Tile(rows, cols).with_margin(margin, self.pan.shape)
        values, valid = self.pan.read_valid(inside.rows, inside.cols)
        check_magnitude(largest_of(values, valid), self.pan.name)
        whole = registration.fill_gaps(_floating(values), valid)[0]
        return np.pad(whole, padding, mode="edge"), np.pad(valid, padding)

    def upsampled(
        self, rows: slice, cols: slice, positions: npt.NDArray[np.intp]
    ) -> tuple[Values, Mask]:
        """Interpolate bands to fine pixels, which are valid if the coarse pixel around is."""
        places = [self.alignment.centres(0, rows), self.alignment.centres(1, cols)]
        parts = []
        for place, size in zip(places, self.bands.shape, strict=True):
            part = registration.interpolation_support(place, size)
            parts.append(
                slice(max(part.start - _AROUND, 0), min(part.stop + _AROUND, size))
            )
        values, valid = self.bands.read_valid(*parts)
        check_magnitude(largest_of(values, valid), self.bands.name)
        fine = registration.fill_gaps(_floating(values[positions]), valid)
        for axis in (1, 0):
            fine = registration.interpolate(fine, places[axis], axis + 1, parts[axis].start)
        nearest = [np.floor(place + 0.5).astype(np.intp) for place in places]
        held = [
            np.clip(near, part.start, part.stop - 1) - part.start
            for near, part in zip(nearest, parts, strict=True)
        ]
        down, across = (
            (near >= 0) & (near < size)
            for near, size in zip(nearest, self.bands.shape, strict=True)
        )
        covered = valid[np.ix_(*held)] & down[:, None] & across[None, :]
        return fine, np.asarray(covered)


def _floating(values: Array) -> Values:
    """Convert to floating point, in single precision where that holds the values."""
    wide = values.dtype.kind == "f" and values.dtype.itemsize > 4
    wide |= values.dtype.kind in "ui" and values.dtype.itemsize > 2
    return values.astype(np.float64 if wide else np.float32)


def _match(
    sharp: _Sharpening, store: TileStore | None, progress: Progress | None
) -> BandMatch:
    """Gather the statistics of both images where both have data."""
    counts = {"grey": 1, "smooth": 1, "bands": sharp.bands.n_bands}
    moments = {name: Moments(count) for name, count in counts.items()}
    like = {name: np.empty((3, count)) for name, count in counts.items()}
    parts = tiles(sharp.pan.shape, _STRIP, 2**22 // _STRIP)
    statistics = load_or_compute(
        store,
        "statistic",
        len(parts),
        lambda _: like,
        lambda at: _moments(sharp, parts[at]),
    )
    for number, statistic in enumerate(statistics, 1):
        for name, each in moments.items():
            each.merge(statistic[name])
        if progress is not None:
            progress(number, len(parts))
    if not moments["grey"].count:
        raise SceneError(
            "The panchromatic and the multispectral image have no pixel with data in both; "
            "give two images of the same place."
        )
    return BandMatch.of(**moments)


def _moments(sharp: _Sharpening, tile: Tile) -> Arrays:
    """Compute the statistics of a tile of both images."""
    around, known = sharp.pan_around(tile.rows, tile.cols)
    bands = np.arange(sharp.bands.n_bands)
    fine, covered = sharp.upsampled(tile.rows, tile.cols, bands)
    inner = _without_margin(sharp.alignment)
    both = covered & known[inner]
    low = registration.low_pass(around, sharp.alignment.levels)
    values = {"grey": around[inner][None], "smooth": low[None], "bands": fine}
    return {name: Moments.of(each[:, both]) for name, each in values.items()}


def _without_margin(alignment: registration.Registration) -> tuple[slice, slice]:
    margin = registration.filter_radius(alignment.levels)
    return slice(margin, -margin), slice(margin, -margin)


def _sharpened(
    sharp: _Sharpening, match: BandMatch | None, layers: Indices, rows: slice, cols: slice
) -> Array:
    """Compute a rectangle of sharpened bands."""
    positions = layers[layers >= sharp.keep_pan] - sharp.keep_pan
    around, known = sharp.pan_around(rows, cols)
    inner = _without_margin(sharp.alignment)
    grey = around[inner]
    fine, covered = sharp.upsampled(rows, cols, positions)
    if match is not None:
        low = registration.low_pass(around, sharp.alignment.levels)
        for at, position in enumerate(positions):
            fine[at] = match.injected(fine[at], grey, low, int(position), sharp.injection)
    if sharp.keep_pan and 0 in layers:
        fine = np.concatenate([grey[None].astype(fine.dtype), fine])
    return _stored(fine, covered & known[inner], sharp)


def _stored(values: Values, valid: Mask, sharp: _Sharpening) -> Array:
    """Convert values to the type of the result, with no data where pixels are not valid."""
    nodata = sharp.nodata
    if sharp.dtype.kind == "f":
        return np.where(valid, values, nodata).astype(sharp.dtype)
    limits = np.iinfo(sharp.dtype)
    whole = np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max)
    # Rounding must not turn a measured value into no data.
    whole[whole == nodata] += 1 if nodata < limits.max else -1
    return np.where(valid, whole, nodata).astype(sharp.dtype)


_BLOCK = 32
"""Side of the blocks in which Q is computed, in pixels."""


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
    alignment = registration.register(pan.grid, bands.grid)
    coarse = _on_grid(pan, bands, alignment), _means(bands, round(alignment.ratio))

    def compare(number: int) -> Arrays:
        """Sharpen the coarse pair in one way, and measure the result."""

        def report(done: int, total: int) -> None:
            if progress is not None:
                progress(number * total + done, len(injections) * total)

        sharp = pansharpen(*coarse, injection=injections[number])
        made = compare_bands(sharp, bands, ratio=alignment.ratio, progress=report)
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


def _on_grid(pan: Scene, bands: Scene, alignment: registration.Registration) -> Scene:
    """Return the panchromatic image as means over the pixels of the bands."""
    inverse = alignment.inverse()

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
        sums = registration.area_means(sums, each - part.start, axis)
        held = registration.area_means(held, each - part.start, axis)
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
        made, true, valid = made.astype(float), true.astype(float), held & measured
        pair = made[:, valid], true[:, valid]
        angles += float(_angles(*pair).sum())
        squares += np.square(pair[0] - pair[1]).sum(axis=1)
        sums += pair[1].sum(axis=1)
        count += int(valid.sum())
        for tile in tiles(valid.shape, _BLOCK):
            block = tile.rows, tile.cols
            if tile.pixels == _BLOCK**2 and valid[block].all():
                flat = (each[:, *block].reshape(len(each), -1) for each in (made, true))
                indices.append(_index(*flat))
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


def _angles(estimate: Values, reference: Values) -> Values:
    """Return the angle in degrees between spectra (band, n)."""
    lengths = np.linalg.norm(estimate, axis=0) * np.linalg.norm(reference, axis=0)
    cosines = (estimate * reference).sum(axis=0) / np.where(lengths > 0, lengths, 1)
    angles = np.arccos(np.clip(np.where(lengths > 0, cosines, 1), -1, 1))
    return np.asarray(np.degrees(angles))


def _index(estimate: Values, reference: Values) -> Values:
    """Return Wang and Bovik's Q of each row: correlation, contrast and luminance."""
    means, references = estimate.mean(axis=1), reference.mean(axis=1)
    covariance = ((estimate - means[:, None]) * (reference - references[:, None])).mean(
        axis=1
    )
    spread = estimate.var(axis=1) + reference.var(axis=1)
    light = means**2 + references**2
    contrast = np.where(spread > 0, 2 * covariance / np.where(spread > 0, spread, 1), 1)
    luminance = 2 * means * references / np.where(light > 0, light, 1)
    return contrast * np.where(light > 0, luminance, 1)
