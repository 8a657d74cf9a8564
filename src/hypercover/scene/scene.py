"""Scenes: an image cube with its metadata, and labels if there are any."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from xarray import DataArray

from hypercover.errors import LabelError, SceneError, counted, shorten
from hypercover.memory import check_memory
from hypercover.scene import metadata
from hypercover.scene.data_array import as_cube
from hypercover.scene.grid import Grid, grid_of, with_coordinates, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.nodata import NodataRule, NodataSpec, valid_pixels, with_nodata
from hypercover.scene.tiling import IMAGE_BLOCK, strips
from hypercover.types import Array, Bytes, Codes, Floats, Ints, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes


NO_LABELS = "No labels were taken from the file:"
"""How a note begins that says why a file that holds labels gave none."""

_STRIP, _MOST_STRIP = 2**22, 2**24
"""Values read at once when the whole cube has to be looked at, and where tiles are high."""
_LARGEST = 1e30
"""Values beyond this are no measurement, and their sums no float32."""
_PLOTTED = 2000
"""Largest side of a plotted picture, in pixels."""
_LONGEST_NOTE = 2000
"""Longest note in characters; notes may quote the contents of a file."""
_SMALLER = "select fewer bands, cut the image to the labelled land, or use a larger machine"


@dataclass(frozen=True, eq=False)
class Scene:
    """An image cube with its wavelengths, georeference, labels and legend.

    Readers return scenes and every later stage takes them.  A scene is frozen: each
    operation returns a new one.

    Examples
    --------
    >>> scene = Scene.from_array(np.ones((3, 4, 5)), wavelengths=[460, 550, 650])
    >>> scene
    <hypercover.Scene 'scene': 3 bands × 4 rows × 5 columns, float64>
      Wavelengths  460 to 650 nm
      Labels       none
    >>> scene[:2, 1:3].cube.shape
    (2, 2, 5)
    >>> scene.sel(wavelength=600).wavelengths.tolist()
    [550.0]
    """

    cube: DataArray
    """Dims (band, y, x), read lazily where the file allows it.  Coordinates:
    ``band`` (numbers in the source file, from 1), ``wavelength`` and ``fwhm``
    (nm) where known, ``bad`` (bool) where the file marks bad bands, and
    ``spatial_ref``.  ``attrs['nodata']`` is the value that means no data (for masks and
    more values see :mod:`hypercover.scene.nodata`), ``attrs['units']`` the unit of the
    values, and ``attrs['header']`` what else the file says of the image, see ``header``."""
    labels: Codes | None = None
    """Class codes (y, x); 0 = unlabelled."""
    legend: Legend = field(default_factory=Legend)
    """Names and colours of the codes that occur in the labels."""
    name: str = "scene"
    """Short name for titles and file names."""
    source: str = ""
    """Path the cube was read from."""
    simulated: bool = False
    """Whether the cube was computed rather than measured."""
    stand_in: bool = False
    """Whether the cube was reconstructed to replace a measured one."""
    notes: tuple[str, ...] = ()
    """What the reader chose or found, one sentence each, to be shown to people."""
    losses: tuple[str, ...] = ()
    """Labels of the file that no pixel shows, one sentence each: shapes and classes."""
    shapes: Codes | None = None
    """Number of the shape (y, x) that labels each pixel, from 1; None without shapes."""

    def __post_init__(self) -> None:
        """Refuse cubes of another axis order and labels of another size; cut endless notes."""
        notes = tuple(shorten(note, _LONGEST_NOTE) for note in self.notes)
        object.__setattr__(self, "notes", notes)
        _check_dims(self.cube)
        if 0 in self.cube.shape:
            raise SceneError(
                f"The image {self.name} is empty: its shape is {self.cube.shape}."
            )
        if self.labels is not None and self.labels.shape != self.shape:
            raise LabelError(
                f"The labels must have the size of the image, {self.shape[0]} rows × "
                f"{self.shape[1]} columns, got {' × '.join(map(str, self.labels.shape))}; "
                "give labels made for this image."
            )
        if self.labels is not None:
            _check_codes(self.labels)

    @classmethod
    def from_array(
        cls,
        array: DataArray | ArrayLike,
        labels: ArrayLike | None = None,
        legend: Legend | Mapping[int, str] | None = None,
        *,
        wavelengths: ArrayLike | None = None,
        crs: Any = None,
        transform: Sequence[float] | None = None,
        nodata: NodataSpec | None = None,
        name: str | None = None,
    ) -> "Scene":
        """Make a scene of an array in memory or of an xarray.DataArray.

        Parameters
        ----------
        array : DataArray or array_like
            A DataArray with dimensions of any order and of the usual names, such as
            ``(band, y, x)`` or ``(lat, lon, wavelength)``, with the CRS as rioxarray
            keeps it; or a plain array (band, row, col).
        labels : array_like (row, col), optional
            Class codes; 0 = unlabelled.
        legend : Legend or mapping of codes to names, optional
        wavelengths : array_like (band,), optional
            In nm; by default the coordinate ``wavelength`` of the DataArray.
        crs, transform : optional
            Georeference, such as ``"EPSG:32633"`` and an ``affine.Affine``.
        nodata : number, text or sequence of them, optional
            As for :func:`~hypercover.open_scene`.
        name : str, optional

        Raises
        ------
        SceneError, LabelError
            If the array is not an image, or labels or wavelengths do not fit it.
        """
        cube, notes = as_cube(array, wavelengths=wavelengths, crs=crs, transform=transform)
        title = name or str(getattr(array, "name", None) or "scene")
        if nodata is not None:
            cube = with_nodata(cube, nodata, title)
        scene = cls(cube, name=title, notes=notes)
        if labels is None:
            return scene
        codes = np.asarray(labels)
        _check_codes(codes)
        names = legend if isinstance(legend, Legend) else Legend.of(legend or {})
        kind = np.min_scalar_type(int(codes.max(initial=0)))
        return scene.with_labels(codes.astype(kind), names)

    def to_xarray(self) -> DataArray:
        """Return the image as a DataArray (band, y, x) that rioxarray understands.

        It has the coordinates ``x`` and ``y`` of pixel centres and ``spatial_ref`` with
        the CRS, ``wavelength`` (nm) if known, and ``labels`` (y, x) if there are any, with
        ``flag_values`` and ``flag_meanings`` as the CF conventions have them.
        """
        cube = with_coordinates(self.cube).rename(self.name)
        if "wavelength" in cube.coords:
            cube.coords["wavelength"].attrs["units"] = "nm"
        if self.nodata is not None:
            cube = cube.assign_attrs(_FillValue=self.nodata)
        if self.labels is None:
            return cube
        meanings = {
            "flag_values": list(self.legend.codes),
            "flag_meanings": " ".join("_".join(name.split()) for name in self.legend.names),
        }
        return cube.assign_coords(labels=(("y", "x"), self.labels, meanings))

    def isel(
        self,
        band: Sequence[int] | slice | int | None = None,
        y: slice | int | None = None,
        x: slice | int | None = None,
    ) -> "Scene":
        """Select bands, rows and columns by position (from 0); the cube stays in its file.

        Raises
        ------
        IndexError
            If a position is outside the image.
        SceneError
            If nothing is selected, or rows or columns are not contiguous.
        """
        scene = self if band is None else self.take_bands(_positions(band, self.n_bands))
        if y is None and x is None:
            return scene
        return scene._window(_interval(y, self.shape[0]), _interval(x, self.shape[1]))

    def _window(self, rows: slice, cols: slice) -> "Scene":
        """Return the rectangle between two rows and two columns, with its labels."""
        grid = self.grid
        a, b, c, d, e, f = grid.transform
        if grid.placed:
            c = c + a * cols.start + b * rows.start
            f = f + d * cols.start + e * rows.start
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        place = Grid(*shape, grid.crs, (a, b, c, d, e, f))
        cut = self.replace(
            cube=with_grid(self.cube.isel(y=rows, x=cols), place),
            labels=None,
            shapes=None if self.shapes is None else self.shapes[rows, cols],
        )
        if self.labels is None:
            return cut
        cut = cut.with_labels(self.labels[rows, cols])
        gone = [item.name for item in self.legend if item.code not in cut.legend]
        if not gone:
            return cut
        lost = f"Classes without a pixel in the selected part: {', '.join(gone)}."
        return cut.replace(losses=(*cut.losses, lost))

    def sel(self, wavelength: float | slice | Sequence[float]) -> "Scene":
        """Select bands by wavelength in nm: the nearest ones, or a range given as a slice.

        Raises
        ------
        SceneError
            If the wavelengths are not known, or no band is in the range.
        """
        centres = self.wavelengths
        if centres is None:
            raise SceneError(
                f"The wavelengths of {self.name} are not known; select bands by position "
                "with isel(band=...)."
            )
        if isinstance(wavelength, slice):
            low = -np.inf if wavelength.start is None else wavelength.start
            high = np.inf if wavelength.stop is None else wavelength.stop
            inside = np.flatnonzero((centres >= low) & (centres <= high))
            if not inside.size:
                raise SceneError(
                    f"{self.name} has no band between {low:g} and {high:g} nm; its bands are "
                    f"from {centres.min():g} to {centres.max():g} nm."
                )
            return self.take_bands(inside.tolist())
        apart = np.abs(np.subtract.outer(np.atleast_1d(wavelength), centres))
        return self.take_bands(apart.argmin(axis=1).tolist())

    def __getitem__(self, key: Any) -> "Scene":
        """Select ``scene[bands, rows, cols]`` by position, as in NumPy."""
        parts = list(key) if isinstance(key, tuple) else [key]
        if ... in parts:
            at = parts.index(...)
            parts[at : at + 1] = [slice(None)] * (4 - len(parts))
        if len(parts) > 3:
            raise IndexError(f"A scene has the axes band, row and col, got {len(parts)}.")
        every = slice(None)
        selected = [
            None if isinstance(part, slice) and part == every else part for part in parts
        ]
        return self.isel(*selected)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the scene in colour with matplotlib and return the axes.

        Red, green and blue are the bands near 650, 550 and 460 nm, or three bands spread
        over the spectrum; large images are thinned out.
        """
        import matplotlib.pyplot as plt

        bands = pick_bands(self.wavelengths, self.n_bands)
        step = -(-max(self.shape) // _PLOTTED)
        thin = self.cube.isel(
            band=list(bands.positions), y=slice(None, None, step), x=slice(None, None, step)
        )
        grid, values = self.grid, thin.values
        a, b, c, d, e, f = grid.transform
        # In pixels if the grid is turned.
        extent = (0.0, float(grid.cols), float(grid.rows), 0.0)
        if grid.placed and not (b or d):
            extent = c, c + a * grid.cols, f + e * grid.rows, f
        axes = ax or plt.subplots()[1]
        axes.imshow(stretched(values, valid_pixels(thin, values)), extent=extent)
        axes.set_title(metadata.labelled_name(f"{self.name}: {bands.kind}", self.origin))
        return axes

    def _facts(self) -> list[tuple[str, str]]:
        """Name and text of what a notebook shows of the scene."""
        facts = []
        if self.wavelengths is not None:
            span = f"{self.wavelengths.min():.4g} to {self.wavelengths.max():.4g} nm"
            facts.append(("Wavelengths", span))
        grid = self.grid
        if grid.crs:
            system = grid.crs.split('"')[1] if '"' in grid.crs else grid.crs
            width = float(np.hypot(grid.transform[0], grid.transform[3]))
            facts.append(("CRS", f"{system}, pixel size {width:g}"))
        labels = "none"
        if self.labels is not None:
            count = int(np.count_nonzero(self.labels))
            labels = f"{count:,} pixels in {len(self.legend)} classes"
        facts.append(("Labels", labels))
        if self.source:
            facts.append(("Source", self.source))
        if any(self.origin.values()):
            facts.append(("Origin", metadata.labelled_name("image", self.origin)))
        return facts

    def _heading(self) -> str:
        rows, cols = self.shape
        size = f"{self.n_bands} bands × {rows:,} rows × {cols:,} columns"
        return f"{size}, {self.cube.dtype}"

    def __repr__(self) -> str:
        """Return the size of the scene and what is known about it, in a few lines."""
        lines = [f"<hypercover.Scene {self.name!r}: {self._heading()}>"]
        return "\n".join(lines + [f"  {name:<12} {text}" for name, text in self._facts()])

    def _repr_html_(self) -> str:
        """Return the same as a table for notebooks, with the colours of the classes."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self._facts()
        )
        swatches = " ".join(
            f"<span style='white-space:nowrap'><span style='color:{item.color}'>&#9632;</span> "
            f"{escape(item.name)}</span>"
            for item in self.legend
        )
        return (
            f"<div><b>hypercover.Scene {escape(repr(self.name))}</b>: {self._heading()}"
            f"<table>{rows}</table>{swatches}</div>"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.cube.sizes["y"], self.cube.sizes["x"]

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return int(self.cube.sizes["band"])

    @property
    def bands(self) -> Ints:
        """Band numbers in the source file, from 1."""
        numbers = self._of_bands("band", np.int64)
        return np.arange(1, self.n_bands + 1) if numbers is None else numbers

    def _of_bands(self, name: str, dtype: type) -> Array | None:
        if name not in self.cube.coords:
            return None
        return np.asarray(self.cube.coords[name].values, dtype=dtype)

    @property
    def wavelengths(self) -> Floats | None:
        """Centre wavelength of each band in nm, or None where not known."""
        return self._of_bands("wavelength", np.float64)

    @property
    def fwhm(self) -> Floats | None:
        """Full width at half maximum of each band in nm, or None where not known."""
        return self._of_bands("fwhm", np.float64)

    @property
    def bad(self) -> Mask:
        """Whether the file marks each band as bad; False where it says nothing."""
        bad = self._of_bands("bad", bool)
        return np.zeros(self.n_bands, dtype=bool) if bad is None else bad

    @property
    def band_names(self) -> tuple[str, ...] | None:
        """Name of each band, such as ``kpca1``, or None where they have none."""
        names = self._of_bands("band_name", str)
        return None if names is None else tuple(names.tolist())

    @property
    def nodata(self) -> float | None:
        """Value that means no data in all bands, the first of several, or None."""
        return self.nodata_rule.primary

    @property
    def nodata_rule(self) -> NodataRule:
        """The rule that tells which pixels hold no data."""
        return NodataRule.of(self.cube)

    @property
    def header(self) -> dict[str, str]:
        """What the file says of the image as a whole, by the keys of an ENVI header.

        ``sensor type``, ``acquisition time``, ``reflectance scale factor`` and others.
        """
        return metadata.header_of(self.cube)

    @property
    def origin(self) -> metadata.Origin:
        """What everything made of a cube that was not measured must say of itself."""
        return {"simulated": self.simulated, "stand_in": self.stand_in}

    @property
    def grid(self) -> Grid:
        """Shape and georeference."""
        return grid_of(self.cube)

    def read(self, rows: slice, cols: slice) -> Array:
        """Read one rectangle as (band, row, col) in the type of the file."""
        return np.ascontiguousarray(self.cube.isel(y=rows, x=cols).values)

    def read_valid(self, rows: slice, cols: slice) -> tuple[Array, Mask]:
        """Read one rectangle as (band, row, col), and which pixels (row, col) hold data."""
        piece = self.cube.isel(y=rows, x=cols)
        values = np.ascontiguousarray(piece.values)
        return values, valid_pixels(piece, values)

    def load(self) -> "Scene":
        """Return the scene with its cube in memory, in the type of the file.

        Raises
        ------
        SceneError
            If it is larger than the memory that is available.
        """
        check_memory(self.cube.nbytes, f"The image {self.name}", _SMALLER)
        return self.replace(cube=self.cube.load())

    def strips(self) -> Iterator[slice]:
        """Cut the rows into strips small enough to be read one at a time."""
        rows, cols = self.shape
        width = cols * self.n_bands
        step = max(1, _STRIP // width)
        # Tiled files are unpacked a tile at a time: none is to be cut in two.
        if step > IMAGE_BLOCK:
            return strips(rows, step - step % IMAGE_BLOCK)
        return strips(rows, min(max(1, _MOST_STRIP // width), IMAGE_BLOCK))

    @cached_property
    def valid(self) -> Mask:
        """Pixels (y, x) that hold data in all bands, by :attr:`nodata_rule` and masks."""
        return self._surveyed[0]

    @cached_property
    def _surveyed(self) -> tuple[Mask, float]:
        """Which pixels hold data, and the size of their largest value, in one reading."""
        valid, largest = [], 0.0
        for rows in self.strips():
            values, held = self.read_valid(rows, slice(None))
            valid.append(held)
            largest = max(largest, largest_of(values, held))
        return np.concatenate(valid, axis=0), largest

    def check_range(self) -> None:
        """Refuse values of pixels with data that are too large to compute with.

        Raises
        ------
        SceneError
            If there are some: mostly a fill value that the file does not name.
        """
        check_magnitude(self._surveyed[1], self.name)

    @cached_property
    def usable_labels(self) -> Codes:
        """Labels (y, x) with 0 wherever the image holds no data."""
        if self.labels is None:
            why = [note for note in self.notes if note.startswith(NO_LABELS)]
            raise LabelError(
                f"The scene {self.name} has no labels; give a label file as well."
                + "".join(f" {note}" for note in why)
            )
        return np.where(self.valid, self.labels, 0).astype(self.labels.dtype)

    def replace(self, **changes: object) -> "Scene":
        """Return a scene with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def noting(self, *sentences: str) -> "Scene":
        """Return the scene with more notes."""
        return self.replace(notes=self.notes + sentences)

    def with_labels(self, labels: Codes, legend: Legend | None = None) -> "Scene":
        """Return the scene with labels (y, x) and a legend of the classes that occur."""
        classes = (legend or self.legend).covering(labels)
        return self.replace(labels=labels, legend=classes)

    def take_bands(self, positions: Sequence[int]) -> "Scene":
        """Return the scene with the bands at these positions (from 0) alone."""
        numbered = self.cube.assign_coords(band=("band", self.bands))
        cube = numbered.isel(band=list(positions))
        header = metadata.select_header_bands(self.header, positions, self.n_bands)
        return self.replace(cube=metadata.with_header(cube, header))


def blank_invalid(values: Array, valid: Mask) -> Array:
    """Return (band, row, col) values with zeros wherever a pixel holds no data.

    Zero is the one value that every type of pixel can hold and that adds no infinite or
    absurd number to the windows beside it; the mask is kept apart.
    """
    return values if valid.all() else np.where(valid, values, np.zeros((), values.dtype))


def largest_of(values: Array, valid: Mask) -> float:
    """Return the size of the largest value (band, row, col) of the pixels with data."""
    if values.dtype.kind != "f" or not valid.any():
        return 0.0
    ends = [(float(band.min()), float(band.max())) for band in values]
    largest = max(max(-low, high) for low, high in ends)
    if largest <= _LARGEST and not any(np.isnan(low) for low, _ in ends):
        return largest
    # Pixels without data count only here: to leave them out takes three times as long.
    ends = [
        (float(band.min(where=valid, initial=0)), float(band.max(where=valid, initial=0)))
        for band in values
    ]
    return max(max(-low, high) for low, high in ends)


def check_magnitude(largest: float, name: str) -> None:
    """Refuse an image whose largest value is too large to compute with.

    Raises
    ------
    SceneError
        If it is: sums of squares of larger ones are no float32.
    """
    if largest > _LARGEST:
        raise SceneError(
            f"The image {name} holds values up to {largest:.3g} in size, which are no "
            "measurements; if they mean no data, declare it with nodata: VALUE (--nodata "
            "VALUE) or in the file (GeoTIFF: nodata, ENVI: data ignore value)."
        )


def _positions(band: Sequence[int] | slice | int, count: int) -> list[int]:
    """Return the positions of bands that an index selects."""
    every = np.arange(count)
    chosen = np.atleast_1d(every[band if isinstance(band, slice | int) else list(band)])
    if not chosen.size:
        raise SceneError(
            f"No band is selected of {counted(count, 'band')}; select at least one."
        )
    return [int(at) for at in chosen]


def _interval(part: slice | int | None, count: int) -> slice:
    """Return the first and last+1 of the rows or columns that an index selects."""
    if isinstance(part, int):
        at = range(count)[part]
        return slice(at, at + 1)
    start, stop, step = (part or slice(None)).indices(count)
    if step != 1:
        raise SceneError(
            f"Rows and columns of a scene are selected without a step, got {part}; use "
            "scene.cube.isel for a thinned-out image."
        )
    if start >= stop:
        raise SceneError(
            f"{part} selects nothing of {count} rows or columns; give a start before the stop."
        )
    return slice(start, stop)


def _check_dims(cube: object) -> None:
    """Refuse anything but a cube (band, y, x), with advice."""
    own = ("band", "y", "x")
    if not isinstance(cube, DataArray):
        raise SceneError(
            f"A cube is an xarray.DataArray with the dimensions {own}, got "
            f"{type(cube).__name__}; wrap an array (xarray.DataArray(values, dims={own})) or "
            "open a file with open_scene."
        )
    dims = tuple(map(str, cube.dims))
    if dims != own:
        raise SceneError(
            f"A cube must have the dimensions {own}, got {dims}; make a scene of such an array "
            "with Scene.from_array(cube)."
        )


def _check_codes(labels: Array) -> None:
    """Refuse labels that are not class codes."""
    values = np.asarray(labels)
    whole = values.dtype.kind in "uib" or (
        values.dtype.kind == "f" and bool((values == np.floor(values)).all())
    )
    if not whole or (values.size and values.min() < 0):
        wrong = values.min() if whole else "numbers that are not whole"
        raise LabelError(
            f"Labels are class codes, whole numbers from 0 on, got {wrong}; mark unlabelled "
            "pixels with 0."
        )


_TRUE_COLOUR_NM = (650.0, 550.0, 460.0)
"""Red, green and blue in nm."""
_TOLERANCE_NM = 40.0
"""Largest distance of a band from the colour it represents, nm."""
_PERCENTILES = (2.0, 98.0)
"""Percentiles of the values drawn black and full."""
_NO_DATA_GREY = 233


@dataclass(frozen=True)
class CompositeBands:
    """The three bands that a picture shows as red, green and blue."""

    positions: tuple[int, int, int]
    """Positions from 0."""
    kind: str
    """"true colour", "false colour" or "grey"."""

    def describe(self, numbers: Ints, wavelengths: Floats | None) -> str:
        """Return the wavelengths of the bands as text, or their numbers if unknown."""
        if wavelengths is not None:
            return ", ".join(f"{wavelengths[at]:.0f}" for at in self.positions) + " nm"
        shown = [f"{numbers[at]}" for at in self.positions]
        return f"band {shown[0]}" if self.kind == "grey" else f"bands {', '.join(shown)}"


def pick_bands(wavelengths: Floats | None, n_bands: int) -> CompositeBands:
    """Choose the bands to show as red, green and blue.

    True colour if there are bands near 650, 550 and 460 nm; otherwise three bands
    spread over the spectrum, the longest wavelength as red.

    Examples
    --------
    >>> pick_bands(np.array([450.0, 560.0, 655.0, 860.0]), 4)
    CompositeBands(positions=(2, 1, 0), kind='true colour')
    >>> pick_bands(None, 5)
    CompositeBands(positions=(4, 2, 0), kind='false colour')
    """
    if n_bands < 3:
        return CompositeBands((0, 0, 0), "grey")
    if wavelengths is not None:
        gaps = np.abs(wavelengths[None, :] - np.array(_TRUE_COLOUR_NM)[:, None])
        if (gaps.min(axis=1) <= _TOLERANCE_NM).all():
            red, green, blue = (int(at) for at in gaps.argmin(axis=1))
            return CompositeBands((red, green, blue), "true colour")
    order = np.arange(n_bands) if wavelengths is None else np.argsort(wavelengths)
    # The outermost bands of a sensor are its noisiest.
    edge = n_bands // 8
    spread = (order[-1 - edge], order[n_bands // 2], order[edge])
    return CompositeBands((int(spread[0]), int(spread[1]), int(spread[2])), "false colour")


def stretched(values: Array, valid: Mask) -> Bytes:
    """Return an 8-bit picture (y, x, 3) of three bands (band, y, x).

    Each band is stretched from its 2nd to its 98th percentile; pixels without data
    are pale grey.
    """
    picture = np.full((*valid.shape, 3), _NO_DATA_GREY, np.uint8)
    for at, band in enumerate(values.astype(np.float64)):
        measured = band[valid]
        if measured.size:
            low, high = np.percentile(measured, _PERCENTILES)
            spread = high - low if high > low else 1.0
            shade = 255 * np.clip((measured - low) / spread, 0.0, 1.0)
            picture[valid, at] = shade.astype(np.uint8)
    return picture
