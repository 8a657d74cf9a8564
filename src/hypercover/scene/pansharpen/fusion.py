"""Pansharpening: details of a fine panchromatic image added to coarser bands.

The panchromatic image is smoothed to the resolution of the bands by the
undecimated wavelet transform.  The details that smoothing removes are those the
bands lack (the ARSIS concept).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import CallError, SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.metadata import clean_header, select_header_bands, with_header
from hypercover.scene.nodata import without_nodata
from hypercover.scene.pansharpen.registration import (
    BandMatch,
    Moments,
    Registration,
    register,
)
from hypercover.scene.pansharpen.resampling import (
    fill_gaps,
    filter_radius,
    interpolate,
    interpolation_support,
    low_pass,
)
from hypercover.scene.scene import Scene, check_size, largest_of
from hypercover.scene.tile_store import TileStore, load_or_compute, scene_identity
from hypercover.scene.tiling import Tile, tiles
from hypercover.types import Array, Arrays, Mask, Progress

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
    """
    _check(pan, injection)
    laid = register(pan.grid, bands.grid)
    stacked = np.result_type(bands.cube.dtype, pan.cube.dtype)
    dtype = stacked if keep_pan else bands.cube.dtype
    sharp = _Sharpening(pan, bands, laid, injection, keep_pan, dtype.newbyteorder("="))
    matched = _match(sharp, store, progress) if injection != "none" else None
    shape = (bands.n_bands + keep_pan, *pan.shape)
    lazy = LazyArray(shape, sharp.dtype, partial(_fetch, sharp, matched))
    cube = xr.DataArray(lazy.as_variable_data(), dims=("band", "y", "x"))
    cube.attrs = dict(without_nodata(bands.cube).attrs)
    if keep_pan:
        # Lists with an entry for each band have none for the panchromatic one.
        cube = with_header(
            cube, clean_header(select_header_bands(bands.header, (), bands.n_bands))
        )
    if dtype.kind != "f" or bands.nodata is not None:
        cube.attrs["nodata"] = sharp.nodata
    noted = (
        f"Pansharpened ({injection}) at a ratio of {laid.ratio:.4g} with "
        f"{laid.levels} wavelet planes of {pan.name}."
    )
    grid, supposed = _place(pan, bands)
    return Scene(
        with_grid(_described(cube, pan, bands, keep_pan), grid),
        name=bands.name,
        simulated=pan.simulated or bands.simulated,
        stand_in=pan.stand_in or bands.stand_in,
        notes=(*bands.notes, noted, *supposed),
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


def _place(pan: Scene, bands: Scene) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid of the result, and a note if only one image has a coordinate system."""
    without, other = (bands, pan) if pan.grid.crs else (pan, bands)
    if without.grid.crs or not other.grid.crs:
        return pan.grid, ()
    note = f"{without.name} names no coordinate system; that of {other.name} was taken."
    return replace(pan.grid, crs=other.grid.crs), (note,)


def _check(pan: Scene, injection: str) -> None:
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


def _described(
    cube: xr.DataArray, pan: Scene, bands: Scene, keep_pan: bool
) -> xr.DataArray:
    """Add the coordinates of the bands to the cube."""
    names = ("band", "wavelength", "fwhm", "bad", "band_name")
    known = {
        name: bands.cube.coords[name].values for name in names if name in bands.cube.coords
    }
    if not keep_pan:
        return cube.assign_coords({name: ("band", each) for name, each in known.items()})
    own = bands.band_names or tuple(f"ms{number}" for number in bands.bands)
    columns: dict[str, Any] = {"band_name": ("band", np.array(["pan", *own]))}
    for name in ("wavelength", "fwhm"):
        if name in known and name in pan.cube.coords:
            both = np.concatenate([pan.cube.coords[name].values, known[name]])
            columns[name] = ("band", both)
    if "bad" in known:
        columns["bad"] = ("band", np.concatenate([[False], known["bad"]]))
    return cube.assign_coords(columns)


@dataclass(frozen=True, eq=False)
class _Sharpening:
    """A registered pair of images and the settings of its fusion."""

    pan: Scene
    bands: Scene
    laid: Registration
    injection: Injection
    keep_pan: bool
    dtype: np.dtype[Any]

    @property
    def nodata(self) -> float:
        """Value that stands for no data in the result."""
        if self.bands.nodata is not None:
            return self.bands.nodata
        return float("nan") if self.dtype.kind == "f" else 0.0

    def pan_around(self, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Read the panchromatic image (row, col) with the margin of its transform."""
        margin = filter_radius(self.laid.levels)
        inside, padding = Tile(rows, cols).with_margin(margin, self.pan.shape)
        values, valid = self.pan.read_valid(inside.rows, inside.cols)
        check_size(largest_of(values, valid), self.pan.name)
        whole = fill_gaps(_floating(values), valid)[0]
        return np.pad(whole, padding, mode="edge"), np.pad(valid, padding)

    def upsampled(
        self, rows: slice, cols: slice, positions: npt.NDArray[np.intp]
    ) -> tuple[Values, Mask]:
        """Interpolate bands to fine pixels, which are valid if the coarse pixel around is."""
        places = [self.laid.centres(0, rows), self.laid.centres(1, cols)]
        parts = [
            _widened(interpolation_support(place, size), size)
            for place, size in zip(places, self.bands.shape, strict=True)
        ]
        values, valid = self.bands.read_valid(*parts)
        check_size(largest_of(values, valid), self.bands.name)
        fine = fill_gaps(_floating(values[positions]), valid)
        for axis in (1, 0):
            fine = interpolate(fine, places[axis], axis + 1, parts[axis].start)
        return fine, self._covered(valid, places, parts)

    def _covered(
        self, valid: Mask, places: Sequence[Values], parts: Sequence[slice]
    ) -> Mask:
        held = []
        for place, part, size in zip(places, parts, self.bands.shape, strict=True):
            nearest = np.floor(place + 0.5).astype(np.intp)
            inside = (nearest >= 0) & (nearest < size)
            held.append((np.clip(nearest, part.start, part.stop - 1) - part.start, inside))
        (down, within), (across, beside) = held
        return np.asarray(valid[np.ix_(down, across)] & within[:, None] & beside[None, :])


def _widened(part: slice, size: int) -> slice:
    return slice(max(part.start - _AROUND, 0), min(part.stop + _AROUND, size))


def _floating(values: Array) -> Values:
    """Convert to floating point, in single precision where that holds the values."""
    wide = values.dtype.kind == "f" and values.dtype.itemsize > 4
    wide |= values.dtype.kind in "ui" and values.dtype.itemsize > 2
    return values.astype(np.float64 if wide else np.float32)


def _match(
    sharp: _Sharpening, store: TileStore | None, progress: Progress | None
) -> BandMatch:
    """Gather the statistics of both images where both have data."""
    moments = {
        "grey": Moments(1),
        "smooth": Moments(1),
        "bands": Moments(sharp.bands.n_bands),
    }
    like = {name: np.empty((3, len(each.mean))) for name, each in moments.items()}
    parts = tiles(sharp.pan.shape, _STRIP, 2**22 // _STRIP)
    statistics = load_or_compute(
        store,
        "statistic",
        len(parts),
        like=lambda _: like,
        compute=lambda number: _moments(sharp, parts[number]),
    )
    for number, statistic in enumerate(statistics, 1):
        for name, each in moments.items():
            each.merge(statistic[name])
        if progress is not None:
            progress(number, len(parts))
    if not moments["grey"].count:
        raise SceneError(
            "The panchromatic and the multispectral image hold data nowhere together; "
            "give two images of the same place."
        )
    return BandMatch.of(**moments)


def _moments(sharp: _Sharpening, tile: Tile) -> Arrays:
    """Compute the statistics of a tile of both images."""
    around, known = sharp.pan_around(tile.rows, tile.cols)
    bands = np.arange(sharp.bands.n_bands)
    fine, covered = sharp.upsampled(tile.rows, tile.cols, bands)
    inner = _without_margin(sharp.laid)
    both = covered & known[inner]
    return {
        "grey": Moments.of(around[inner][None][:, both]),
        "smooth": Moments.of(low_pass(around, sharp.laid.levels)[None][:, both]),
        "bands": Moments.of(fine[:, both]),
    }


def _without_margin(laid: Registration) -> tuple[slice, slice]:
    margin = filter_radius(laid.levels)
    return slice(margin, -margin), slice(margin, -margin)


def _fetch(sharp: _Sharpening, match: BandMatch | None, wanted: Indices) -> Array:
    """Compute sharpened bands at some rows and columns."""
    layers, rows, cols = wanted
    down, across = bounding_slice(rows), bounding_slice(cols)
    positions = layers[layers >= sharp.keep_pan] - sharp.keep_pan
    around, known = sharp.pan_around(down, across)
    inner = _without_margin(sharp.laid)
    grey = around[inner]
    fine, covered = sharp.upsampled(down, across, positions)
    if match is not None:
        low = low_pass(around, sharp.laid.levels)
        for at, position in enumerate(positions):
            fine[at] = match.injected(fine[at], grey, low, int(position), sharp.injection)
    if sharp.keep_pan and 0 in layers:
        fine = np.concatenate([grey[None].astype(fine.dtype), fine])
    stored = _stored(fine, covered & known[inner], sharp)
    return stored[:, rows - down.start][:, :, cols - across.start]


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
