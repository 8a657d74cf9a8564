"""A simulated city: streets, plots and their covers, seen by Quickbird.

Straight streets cut the land into plots of one cover and brightness each; roofs have a
lit and a shaded half.  It replaces the Quickbird scene of Rome, which may not be
distributed: classes and numbers of labelled pixels are those published.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.random import Generator

from hypercover.errors import CallError
from hypercover.files import check_writable
from hypercover.scene.data_tables import read_table
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import LandClass, Legend
from hypercover.scene.pansharpen.fusion import pansharpen
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import lazy_cube
from hypercover.types import Array, Bytes, Indices, Ints, Progress, Singles

_COVERS = read_table("simulated-city.csv")
ROME_COUNTS = {row["cover"]: int(row["labels"]) for row in _COVERS}
"""Labelled pixels of each class in the order of their codes (Cavallaro et al., JSTARS
8(10), 2015, who train on a tenth of them)."""

SIDE = 1200
"""Rows and columns, in fine pixels, at which a city has as many labels as published."""

_ROADS, _TRAIN = 3, 4

_STREET = 10
"""Width of a street in pixels of 0.6 m."""

_RAILS = 14
"""Width of the railway in pixels."""

_LONGEST, _SHORTEST = 130, 36
"""Largest and smallest side of plots in pixels."""

_PIECE = 50
"""Side of the squares in which streets and rails are labelled, in pixels."""


@dataclass(frozen=True, eq=False)
class City:
    """Cover, plot and roof side of every fine pixel (row, col)."""

    cover: Bytes
    """Code of the class."""
    plot: npt.NDArray[np.int32]
    """Number of the plot, 0 = street."""
    lit: npt.NDArray[np.int8]
    """1 on the lit side of a roof, -1 on the other, 0 on flat land."""

    def labels(self, counts: dict[str, int], random: Generator) -> Bytes:
        """Label a number of pixels of each class, plot by plot; 0 = unlabelled.

        If a class has fewer pixels, all are labelled.
        """
        labels = np.zeros(self.cover.shape, np.uint8)
        region = self._regions()
        for code, count in enumerate(counts.values(), 1):
            at = np.flatnonzero(self.cover == code)
            _, plots = np.unique(region.ravel()[at], return_inverse=True)
            order = random.permutation(plots.max(initial=0) + 1)[plots]
            chosen = at[np.argsort(order, kind="stable")[:count]]
            labels.ravel()[chosen] = code
        return labels

    def _regions(self) -> Ints:
        """Return the numbers of plots, and of squares of the streets and rails."""
        down, across = (np.arange(size) // _PIECE for size in self.cover.shape)
        squares = down[:, None] * 10_000 + across + 1
        lines = np.isin(self.cover, (_ROADS, _TRAIN))
        return np.where(lines, -squares, self.plot)


def lay_out_city(rows: int, cols: int, random: Generator) -> City:
    """Lay out a city of a size in fine pixels; every class gets its published share.

    Examples
    --------
    >>> city = lay_out_city(400, 500, np.random.default_rng(0))
    >>> sorted(np.unique(city.cover).tolist())
    [1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    cover = np.full((rows, cols), _ROADS, np.uint8)
    plot = np.zeros((rows, cols), np.int32)
    lit = np.zeros((rows, cols), np.int8)
    plots = list(_plots(rows, cols, random))
    shares = {
        code: count
        for code, count in enumerate(ROME_COUNTS.values(), 1)
        if code not in (_ROADS, _TRAIN)
    }
    given = dict.fromkeys(shares, 0)
    for number, at in enumerate(random.permutation(len(plots)), 1):
        top, left, high, wide = plots[at]
        block = slice(top, top + high), slice(left, left + wide)
        code = min(shares, key=lambda code: given[code] / shares[code])
        given[code] += high * wide
        cover[block], plot[block] = code, number
        if code in _ROOFED:
            lit[block] = _roof(high, wide, random)
    rails = slice(int(0.55 * rows), int(0.55 * rows) + _RAILS)
    cover[rails], plot[rails], lit[rails] = _TRAIN, 0, 0
    return City(cover, plot, lit)


_ROOFED = (1, 2, 9)


def _roof(high: int, wide: int, random: Generator) -> npt.NDArray[np.int8]:
    """Return the two sides of a roof along the longer side of its plot."""
    sides = np.ones((high, wide), np.int8)
    if high > wide:
        sides[:, wide // 2 :] = -1
    else:
        sides[high // 2 :] = -1
    return sides if random.random() < 0.5 else -sides


def _plots(rows: int, cols: int, random: Generator) -> Iterator[tuple[int, int, int, int]]:
    """Cut land by streets until no plot is too long; yield the corner and sides of each."""
    waiting = [(0, 0, rows, cols)]
    while waiting:
        top, left, high, wide = waiting.pop()
        longer = max(high, wide)
        room = longer - _STREET - 2 * _SHORTEST
        if (longer <= _LONGEST and (room < 0 or random.random() < 0.3)) or room < 0:
            yield top, left, high, wide
            continue
        cut = _SHORTEST + int(random.integers(room + 1))
        rest = longer - cut - _STREET
        if high >= wide:
            waiting += [(top, left, cut, wide), (top + cut + _STREET, left, rest, wide)]
        else:
            waiting += [(top, left, high, cut), (top, left + cut + _STREET, high, rest)]


RATIO = 4
"""Fine pixels along a coarse one."""

_FINE = 0.6
"""Side of a fine pixel in m."""

_CORNER = (289_000.0, 4_643_000.0)
"""Easting and northing of the north-west corner in UTM zone 33."""

_CENTRES, _WIDTHS = (485.0, 560.0, 660.0, 830.0), (70.0, 80.0, 60.0, 140.0)
"""Blue, green, red and near infrared of Quickbird, nm."""

_GREY = np.array([0.15, 0.25, 0.25, 0.35], np.float32)
"""Share of each band in the panchromatic one (450 to 900 nm)."""

_NOISE = 6.0
"""Standard deviation of the sensor's noise, digital numbers of 11 bits."""

_BANDS = ("blue", "green", "red", "infrared")

_TYPICAL = np.array([[row[band] for band in _BANDS] for row in _COVERS]).astype(np.float32)
"""Digital numbers of each class in each band."""

_TEXTURE = np.array([row["texture"] for row in _COVERS]).astype(np.float32)
"""Relative spread of the pixels of a plot, by class."""

_PLOT, _HUE, _SLOPE = 0.16, 0.05, 0.13
"""Relative spread of plots and of their bands, and contrast of the sides of a roof."""

_BLOCK = 64
"""Fine rows whose texture has a common seed, so that any part can be computed alone."""


@dataclass(frozen=True, eq=False)
class QuickbirdPair:
    """A panchromatic and a multispectral image of a city, computed on reading."""

    pan: Scene
    """The panchromatic image (1, row, col) of 0.6 m, with the labels."""
    bands: Scene
    """The four bands (4, row / 4, col / 4) of 2.4 m."""


def quickbird_pair(
    rows: int, cols: int, seed: int, counts: dict[str, int] | None = None
) -> QuickbirdPair:
    """Simulate a pair of images.

    Parameters
    ----------
    rows, cols : int
        Size of the panchromatic image, multiples of 4.
    seed : int
    counts : dict, optional
        Number of pixels to label of each class; by default there are no labels.

    Examples
    --------
    >>> pair = quickbird_pair(400, 480, seed=0)
    >>> pair.pan.cube.shape, pair.bands.cube.shape
    ((1, 400, 480), (4, 100, 120))
    """
    city = lay_out_city(rows, cols, np.random.default_rng([seed, 0]))
    view = _View(city, _plot_spectra(city, np.random.default_rng([seed, 1])), seed)
    notes = ("Simulated, not measured: a city.",)
    pan = Scene(
        _placed((1, rows, cols), view.grey, _FINE),
        labels=city.labels(counts, np.random.default_rng([seed, 2])) if counts else None,
        legend=Legend(
            tuple(
                LandClass(code, row["cover"], row["color"])
                for code, row in enumerate(_COVERS, 1)
            )
        ),
        name="simulated city, panchromatic",
        simulated=True,
        notes=notes,
    )
    coarse = len(_CENTRES), rows // RATIO, cols // RATIO
    cube = _placed(coarse, view.colours, _FINE * RATIO).assign_coords(
        wavelength=("band", np.array(_CENTRES)), fwhm=("band", np.array(_WIDTHS))
    )
    bands = Scene(cube, name="simulated city", simulated=True, notes=notes)
    return QuickbirdPair(pan, bands)


def _placed(
    shape: tuple[int, int, int], read: Callable[[Indices, slice, slice], Array], side: float
) -> xr.DataArray:
    from rasterio.crs import CRS

    transform = (side, 0.0, _CORNER[0], 0.0, -side, _CORNER[1])
    grid = Grid(*shape[1:], CRS.from_epsg(32633).to_wkt(), transform)
    return with_grid(lazy_cube(shape, np.uint16, read), grid)


def _plot_spectra(city: City, random: Generator) -> Singles:
    """Draw the brightness of each plot (plot, band) relative to its class; 0 = street."""
    count = int(city.plot.max()) + 1
    bright = np.exp(random.normal(0, _PLOT, (count, 1)))
    hue = 1 + random.normal(0, _HUE, (count, len(_CENTRES)))
    factor = (bright * hue).astype(np.float32)
    factor[0] = 1
    return factor


@dataclass(frozen=True, eq=False)
class _View:
    """Renders a city with plots of some brightness."""

    city: City
    factor: Singles
    seed: int

    def grey(self, _bands: Indices, rows: slice, cols: slice) -> Array:
        """Return a rectangle of the panchromatic image."""
        grey = np.tensordot(_GREY, self._fine(rows), 1)[None]
        return self._noisy(4, grey, rows.start)[:, :, cols]

    def colours(self, bands: Indices, rows: slice, cols: slice) -> Array:
        """Return a rectangle of some of the four coarse bands."""
        fine = self._fine(slice(rows.start * RATIO, rows.stop * RATIO))
        count, high, wide = fine.shape
        squares = fine.reshape(count, high // RATIO, RATIO, wide // RATIO, RATIO)
        return self._noisy(5, squares.mean(axis=(2, 4)), rows.start)[bands][:, :, cols]

    def _fine(self, rows: slice) -> Singles:
        """Return all four bands (band, row, col) of some fine rows."""
        first, last = rows.start // _BLOCK, -(-rows.stop // _BLOCK)
        parts = [self._block(number) for number in range(first, last)]
        start = rows.start - first * _BLOCK
        return np.concatenate(parts, axis=1)[:, start : start + rows.stop - rows.start]

    def _block(self, number: int) -> Singles:
        rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
        cover, plot = self.city.cover[rows], self.city.plot[rows]
        random = np.random.default_rng([self.seed, 3, number])
        rough = random.standard_normal(cover.shape, np.float32)
        # Crowns and tiles are larger than one pixel.
        rough = 0.6 * rough + 0.4 * (np.roll(rough, 1, 0) + np.roll(rough, 1, 1))
        shade = 1 + _TEXTURE[cover - 1] * rough + _SLOPE * self.city.lit[rows]
        spectrum = _TYPICAL[cover - 1] * self.factor[plot]
        return np.moveaxis(spectrum * shade[..., None], -1, 0)

    def _noisy(self, kind: int, values: Singles, first: int) -> Array:
        """Add noise to (band, row, col), with a seed of its own for each row; digitise."""
        for row in range(values.shape[1]):
            random = np.random.default_rng([self.seed, kind, first + row])
            shape = values.shape[0], values.shape[2]
            values[:, row] += _NOISE * random.standard_normal(shape, np.float32)
        return np.asarray(np.clip(np.rint(values), 1, 2047), dtype=np.uint16)


_SMALLEST = 160
"""Smallest side of a city, in fine pixels, with room for nine classes."""


def write_city(
    shape: tuple[int, int],
    seed: int,
    image: Path,
    tags: dict[str, str],
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Write a simulated city: panchromatic image, bands, pansharpened image and labels.

    ``<stem>-pan`` of 0.6 m and ``<stem>-bands`` of 2.4 m are the images of the sensor.
    ``image`` holds the panchromatic and the four pansharpened bands, as in the
    publication.  At the size of the preset each class has as many labels as in the
    published map, except for one pixel of the largest class; otherwise in proportion.

    Raises
    ------
    CallError
        If the size is too small or not a multiple of the coarse pixel.
    """
    if min(shape) < _SMALLEST or shape[0] % RATIO or shape[1] % RATIO:
        raise CallError(
            f"A simulated city must have at least {_SMALLEST} rows and columns, multiples of "
            f"{RATIO}, got {shape[0]} × {shape[1]}; choose another size."
        )
    share = shape[0] * shape[1] / SIDE**2
    counts = {name: round(share * number) for name, number in ROME_COUNTS.items()}
    # These labels must not be recognised as the published ones.
    counts["Buildings"] -= 1
    pair = quickbird_pair(*shape, seed, counts)
    parts = [
        image.with_name(f"{image.stem}-{part}{image.suffix}") for part in ("pan", "bands")
    ]
    labels_path = check_writable(image.with_name(f"{image.stem}-labels.tif"))
    # The labels get a file of their own.
    for path, scene in zip(parts, (pair.pan.replace(labels=None), pair.bands), strict=True):
        write_scene(scene, path, tags=tags)
    pan, bands = (open_scene(path, False) for path in parts)
    sharp = pansharpen(pan, bands, keep_pan=True).replace(name="simulated city")
    pixels = write_scene(sharp, image, tags=tags, progress=progress)
    labels = pair.pan.labels
    assert labels is not None  # noqa: S101  (counts were given)
    written = write_labels(labels, pair.pan.legend, pair.pan.grid, labels_path, tags=tags)
    return pixels, written
