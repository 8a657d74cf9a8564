"""A simulated Quickbird pair: a grey image of 0.6 m and four bands of 2.4 m of one city."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.city import City, city_legend, lay_out_city

__all__ = ["RATIO", "QuickbirdPair", "quickbird_pair"]

RATIO = 4
"""Fine pixels along a coarse one."""
_FINE = 0.6
"""Side of a fine pixel in m."""
_CORNER = (289_000.0, 4_643_000.0)
"""Easting and northing of the north-west corner: in UTM zone 33."""
_CENTRES, _WIDTHS = (485.0, 560.0, 660.0, 830.0), (70.0, 80.0, 60.0, 140.0)
"""Blue, green, red and near infrared of Quickbird, nm."""
_GREY = np.array([0.15, 0.25, 0.25, 0.35], np.float32)
"""Share of each band in the panchromatic one (450 to 900 nm)."""
_NOISE = 6.0
"""Standard deviation of the sensor's noise, digital numbers of 11 bits."""
_TYPICAL = np.array(
    [[350, 350, 350, 350], [390, 470, 550, 600], [420, 500, 540, 590], [335, 370, 375, 400],
     [355, 400, 420, 455], [280, 400, 320, 920], [235, 310, 235, 760], [420, 530, 630, 790],
     [390, 480, 570, 700], [470, 560, 585, 620]], np.float32)  # fmt: skip
"""Digital numbers of each class in each band; the first row belongs to no class."""
_TEXTURE = np.array(
    [0.05, 0.10, 0.11, 0.07, 0.10, 0.06, 0.22, 0.08, 0.10, 0.09], np.float32
)
"""Relative spread of the pixels of a plot, by class."""
_PLOT, _HUE, _SLOPE = 0.16, 0.05, 0.13
"""Relative spread of whole plots, of their bands, and how far a roof's sides differ."""
_BLOCK = 64
"""Fine rows whose texture is drawn together, so that any part can be computed alone."""


@dataclass(frozen=True, eq=False)
class QuickbirdPair:
    """Both images of one city, computed where they are read, and what is labelled."""

    pan: Scene
    """The grey image (1, row, col) of 0.6 m, with the labels."""
    bands: Scene
    """The four bands (4, row / 4, col / 4) of 2.4 m."""


def quickbird_pair(
    rows: int, cols: int, seed: int, counts: dict[str, int] | None = None
) -> QuickbirdPair:
    """Simulate a pair of so many fine pixels, which must be multiples of 4.

    Parameters
    ----------
    rows, cols : int
        Of the grey image.
    seed : int
    counts : dict, optional
        Pixels to label of each class; none where left out.

    Examples
    --------
    >>> pair = quickbird_pair(400, 480, seed=0)
    >>> pair.pan.cube.shape, pair.bands.cube.shape
    ((1, 400, 480), (4, 100, 120))
    """
    city = lay_out_city(rows, cols, np.random.default_rng([seed, 0]))
    view = _View(city, _plot_spectra(city, np.random.default_rng([seed, 1])), seed)
    labels = city.labels(counts, np.random.default_rng([seed, 2])) if counts else None
    origin = {"simulated": True, "notes": ("Simulated, not measured: a city.",)}
    pan = Scene(
        _placed((1, rows, cols), partial(_grey, view), _FINE),
        labels=labels,
        legend=city_legend(),
        name="simulated city, panchromatic",
        **origin,  # type: ignore[arg-type]
    )
    coarse = (len(_CENTRES), rows // RATIO, cols // RATIO)
    cube = _placed(coarse, partial(_colours, view), _FINE * RATIO).assign_coords(
        wavelength=("band", np.array(_CENTRES)), fwhm=("band", np.array(_WIDTHS))
    )
    bands = Scene(cube, name="simulated city", **origin)  # type: ignore[arg-type]
    return QuickbirdPair(pan, bands)


def _placed(shape: tuple[int, int, int], fetch: partial[npt.NDArray[np.generic]],
            side: float) -> xr.DataArray:  # fmt: skip
    from rasterio.crs import CRS

    west, north = _CORNER
    wkt = CRS.from_epsg(32633).to_wkt()
    data = LazyArray(shape, np.uint16, fetch).as_variable_data()
    cube = xr.DataArray(data, dims=("band", "y", "x"))
    return with_grid(cube, Grid(*shape[1:], wkt, (side, 0.0, west, 0.0, -side, north)))


def _plot_spectra(city: City, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw how bright each plot (plot, band) is against its class; plot 0 is the street."""
    count = int(city.plot.max()) + 1
    bright = np.exp(random.normal(0, _PLOT, (count, 1)))
    hue = 1 + random.normal(0, _HUE, (count, len(_CENTRES)))
    factor = (bright * hue).astype(np.float32)
    factor[0] = 1
    return factor


@dataclass(frozen=True, eq=False)
class _View:
    """A city, the brightness of its plots, and the source of chance."""

    city: City
    factor: npt.NDArray[np.float32]
    seed: int

    def fine(self, rows: slice) -> npt.NDArray[np.float32]:
        """Return all four bands (band, row, col) of these fine rows."""
        first, last = rows.start // _BLOCK, -(-rows.stop // _BLOCK)
        parts = [self._block(number) for number in range(first, last)]
        start = rows.start - first * _BLOCK
        return np.concatenate(parts, axis=1)[:, start : start + rows.stop - rows.start]

    def _block(self, number: int) -> npt.NDArray[np.float32]:
        rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
        cover, plot = self.city.cover[rows], self.city.plot[rows]
        random = np.random.default_rng([self.seed, 3, number])
        rough = random.standard_normal(cover.shape, np.float32)
        # A quarter of each neighbour: crowns and tiles are larger than one pixel.
        rough = 0.6 * rough + 0.4 * (np.roll(rough, 1, 0) + np.roll(rough, 1, 1))
        shade = 1 + _TEXTURE[cover] * rough + _SLOPE * self.city.lit[rows]
        spectrum = _TYPICAL[cover] * self.factor[plot]
        return np.moveaxis(spectrum * shade[..., None], -1, 0)

    def noise(self, kind: int, row: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return the noise of one row of an image."""
        random = np.random.default_rng([self.seed, kind, row])
        return _NOISE * random.standard_normal(shape, np.float32)


def _digital(values: npt.NDArray[np.floating]) -> npt.NDArray[np.generic]:
    return np.asarray(np.clip(np.rint(values), 1, 2047), dtype=np.uint16)


def _noisy(
    view: _View, kind: int, values: npt.NDArray[np.float32], first: int
) -> npt.NDArray[np.generic]:
    """Add the noise of each row (band, row, col), the same however rows are asked for."""
    for at in range(values.shape[1]):
        values[:, at] += view.noise(kind, first + at, (values.shape[0], values.shape[2]))
    return _digital(values)


def _grey(view: _View, wanted: Indices) -> npt.NDArray[np.generic]:
    _, rows, cols = wanted
    part = bounding_slice(rows)
    grey = np.tensordot(_GREY, view.fine(part), 1)[None]
    return _noisy(view, 4, grey, part.start)[:, rows - part.start][:, :, cols]


def _colours(view: _View, wanted: Indices) -> npt.NDArray[np.generic]:
    layers, rows, cols = wanted
    part = bounding_slice(rows)
    fine = view.fine(slice(part.start * RATIO, part.stop * RATIO))
    count, high, wide = fine.shape
    squares = fine.reshape(count, high // RATIO, RATIO, wide // RATIO, RATIO)
    made = _noisy(view, 5, squares.mean(axis=(2, 4)), part.start)
    return made[layers][:, rows - part.start][:, :, cols]
