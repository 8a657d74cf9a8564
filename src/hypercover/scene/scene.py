"""Scenes: an image cube with its metadata, and labels if there are any."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import LabelError, SceneError, counted, shorten
from hypercover.scene.data_array import as_cube, with_coordinates
from hypercover.scene.grid import Grid, grid_of, with_grid
from hypercover.scene.io.axes import axis_role, order_from_names
from hypercover.scene.io.limits import check_memory
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import (
    Origin,
    header_of,
    labelled_name,
    select_header_bands,
    with_header,
)
from hypercover.scene.nodata import NoData, NoDataSpec, valid_pixels, with_nodata
from hypercover.scene.rgb import pick_bands, stretched
from hypercover.scene.tiling import IMAGE_BLOCK, strips
from hypercover.types import Array, Codes, Floats, Ints, Mask

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
"""Signs of a note, which may quote what stands in a file."""
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

    cube: xr.DataArray
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
    """Whether the cube was rebuilt to stand in for a measured one that is not at hand."""
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
        array: xr.DataArray | npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        legend: Legend | Mapping[int, str] | None = None,
        *,
        wavelengths: npt.ArrayLike | None = None,
        crs: Any = None,
        transform: Sequence[float] | None = None,
        nodata: NoDataSpec | None = None,
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
        known = legend if isinstance(legend, Legend) else Legend.of(legend or {})
        kind = np.min_scalar_type(int(codes.max(initial=0)))
        return scene.with_labels(codes.astype(kind), known)

    def to_xarray(self) -> xr.DataArray:
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
        moved = (a, b, c + a * cols.start + b * rows.start,
                 d, e, f + d * cols.start + e * rows.start)  # fmt: skip
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        place = Grid(*shape, grid.crs, moved if grid.placed else grid.transform)
        cut = self.replace(
            cube=with_grid(self.cube.isel(y=rows, x=cols), place),
            labels=None if self.labels is None else self.labels[rows, cols],
            shapes=None if self.shapes is None else self.shapes[rows, cols],
        )
        if cut.labels is None:
            return cut
        cut = cut.with_labels(cut.labels)
        gone = [land.name for land in self.legend if land.code not in cut.legend]
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
        known = self.wavelengths
        if known is None:
            raise SceneError(
                f"The wavelengths of {self.name} are not known; select bands by position "
                "with isel(band=...)."
            )
        if isinstance(wavelength, slice):
            low = -np.inf if wavelength.start is None else wavelength.start
            high = np.inf if wavelength.stop is None else wavelength.stop
            inside = np.flatnonzero((known >= low) & (known <= high))
            if not inside.size:
                raise SceneError(
                    f"{self.name} has no band between {low:g} and {high:g} nm; its bands are "
                    f"from {known.min():g} to {known.max():g} nm."
                )
            return self.take_bands(inside.tolist())
        each = np.atleast_1d(np.asarray(wavelength, dtype=np.float64))
        return self.take_bands([int(np.abs(known - one).argmin()) for one in each])

    def __getitem__(self, key: Any) -> "Scene":
        """Select ``scene[bands, rows, cols]`` by position, as in NumPy."""
        parts = list(key) if isinstance(key, tuple) else [key]
        if ... in parts:
            at = parts.index(...)
            parts[at : at + 1] = [slice(None)] * (4 - len(parts))
        if len(parts) > 3:
            raise IndexError(f"A scene has the axes band, row and col, got {len(parts)}.")
        band, rows, cols = (None if _is_all(part) else part
                            for part in parts + [slice(None)] * (3 - len(parts)))  # fmt: skip
        return self.isel(band, rows, cols)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the scene in colour with matplotlib and return the axes.

        Red, green and blue are the bands near 650, 550 and 460 nm, or three bands spread
        over the spectrum; large images are thinned out.
        """
        import matplotlib.pyplot as plt

        bands = pick_bands(self.wavelengths, self.n_bands)
        step = -(-max(self.shape) // _PLOTTED)
        thin = self.cube.isel(band=list(bands.positions), y=slice(None, None, step),
                              x=slice(None, None, step))  # fmt: skip
        values = thin.values
        axes = ax or plt.subplots()[1]
        axes.imshow(stretched(values, valid_pixels(thin, values)), extent=self._extent())
        axes.set_title(labelled_name(f"{self.name}: {bands.kind}", self.origin))
        return axes

    def _extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top: on the ground, or in pixels if the grid is turned."""
        grid = self.grid
        a, b, c, d, e, f = grid.transform
        if b or d or not grid.placed:
            return 0.0, float(grid.cols), float(grid.rows), 0.0
        return c, c + a * grid.cols, f + e * grid.rows, f

    def _facts(self) -> list[tuple[str, str]]:
        """Name and text of what a notebook shows of the scene."""
        facts = []
        if self.wavelengths is not None:
            ends = self.wavelengths.min(), self.wavelengths.max()
            facts.append(("Wavelengths", f"{ends[0]:.4g} to {ends[1]:.4g} nm"))
        grid = self.grid
        if grid.crs:
            system = grid.crs.split('"')[1] if '"' in grid.crs else grid.crs
            width = float(np.hypot(grid.transform[0], grid.transform[3]))
            facts.append(("CRS", f"{system}, pixel size {width:g}"))
        if self.labels is None:
            facts.append(("Labels", "none"))
        else:
            count = int(np.count_nonzero(self.labels))
            facts.append(("Labels", f"{count:,} pixels in {len(self.legend)} classes"))
        if self.source:
            facts.append(("Source", self.source))
        if any(self.origin.values()):
            facts.append(("Origin", labelled_name("image", self.origin)))
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
            f"<span style='white-space:nowrap'><span style='color:{land.color}'>&#9632;</span> "
            f"{escape(land.name)}</span>"
            for land in self.legend
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
        if "band" not in self.cube.coords:
            return np.arange(1, self.n_bands + 1)
        return np.asarray(self.cube.coords["band"].values, dtype=np.int64)

    def _along_bands(self, name: str) -> Floats | None:
        if name not in self.cube.coords:
            return None
        return np.asarray(self.cube.coords[name].values, dtype=np.float64)

    @property
    def wavelengths(self) -> Floats | None:
        """Centre wavelength of each band in nm, or None where not known."""
        return self._along_bands("wavelength")

    @property
    def fwhm(self) -> Floats | None:
        """Full width at half maximum of each band in nm, or None where not known."""
        return self._along_bands("fwhm")

    @property
    def bad(self) -> Mask:
        """Whether the file marks each band as bad; False where it says nothing."""
        if "bad" not in self.cube.coords:
            return np.zeros(self.n_bands, dtype=bool)
        return np.asarray(self.cube.coords["bad"].values, dtype=bool)

    @property
    def band_names(self) -> tuple[str, ...] | None:
        """Name of each band, such as ``kpca1``, or None where they have none."""
        if "band_name" not in self.cube.coords:
            return None
        return tuple(map(str, self.cube.coords["band_name"].values))

    @property
    def nodata(self) -> float | None:
        """Value that stands for no data in all bands, the first of several, or None."""
        return self.no_data.primary

    @property
    def no_data(self) -> NoData:
        """The rule that tells which pixels hold no data."""
        return NoData.of(self.cube)

    @property
    def header(self) -> dict[str, str]:
        """What the file says of the image as a whole, by the keys of an ENVI header.

        ``sensor type``, ``acquisition time``, ``reflectance scale factor`` and others.
        """
        return header_of(self.cube)

    @property
    def origin(self) -> Origin:
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
        step, most = (
            max(1, values // (cols * self.n_bands)) for values in (_STRIP, _MOST_STRIP)
        )
        # Tiled files are unpacked a tile at a time: none is to be cut in two.
        step = step - step % IMAGE_BLOCK if step > IMAGE_BLOCK else min(most, IMAGE_BLOCK)
        return strips(rows, step)

    @cached_property
    def valid(self) -> Mask:
        """Pixels (y, x) that hold data in all bands, by :attr:`no_data` and masks."""
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
        check_size(self._surveyed[1], self.name)

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
        known = legend or self.legend
        return self.replace(labels=labels, legend=known.covering(labels))

    def take_bands(self, positions: Sequence[int]) -> "Scene":
        """Return the scene with the bands at these positions (from 0) alone."""
        numbered = self.cube.assign_coords(band=("band", self.bands))
        cube = numbered.isel(band=list(positions))
        header = select_header_bands(self.header, positions, self.n_bands)
        return self.replace(cube=with_header(cube, header))


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
    ends = [(float(band.min(where=valid, initial=0)), float(band.max(where=valid, initial=0)))
            for band in values]  # fmt: skip
    return max(max(-low, high) for low, high in ends)


def check_size(largest: float, name: str) -> None:
    """Refuse an image whose largest value is too large to compute with.

    Raises
    ------
    SceneError
        If it is: sums of squares of larger ones are no float32.
    """
    if largest > _LARGEST:
        raise SceneError(
            f"The image {name} holds values up to {largest:.3g} in size, which are no "
            "measurements; if they stand for no data, say so with nodata: VALUE (--nodata "
            "VALUE) or in the file (GeoTIFF: nodata, ENVI: data ignore value)."
        )


def _is_all(part: object) -> bool:
    return isinstance(part, slice) and part == slice(None)


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
    """Refuse what is no cube (band, y, x), and say how it becomes one."""
    own = ("band", "y", "x")
    if not isinstance(cube, xr.DataArray):
        raise SceneError(
            f"A cube is an xarray.DataArray with the dimensions {own}, got "
            f"{type(cube).__name__}; wrap an array (xarray.DataArray(values, dims={own})) or "
            "open a file with open_scene."
        )
    dims = tuple(map(str, cube.dims))
    if dims == own:
        return
    gone = [name for name in dims if cube.sizes[name] == 1 and axis_role(name) is None]
    steps = [f".squeeze({gone!r}, drop=True)"] if gone else []
    rest = [name for name in dims if name not in gone]
    roles = order_from_names(rest)
    if roles is None:
        steps.append(f".transpose{own}")
    else:
        names = dict(
            zip(
                rest,
                ({"row": "y", "col": "x"}.get(role, role) for role in roles),
                strict=True,
            )
        )
        renamed = {old: new for old, new in names.items() if old != new}
        steps += [f".rename({renamed!r})"] if renamed else []
        band = next(old for old, new in names.items() if new == "band")
        if band != "band" and band in cube.coords:
            # What was the coordinate of the axis is no number of bands.
            steps.append(f".assign_coords({band}=('band', cube[{band!r}].values))")
            steps.append(".drop_vars('band')")
        steps += [f".transpose{own}"] if tuple(names.values()) != own else []
    raise SceneError(
        f"A cube must have the dimensions {own}, got {dims}; make it so first, such as with "
        f"cube{''.join(steps)}."
    )


def _check_codes(labels: Array) -> None:
    """Refuse labels that are no codes."""
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
