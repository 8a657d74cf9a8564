"""Window metadata: the attributes of a window file, which any HDF5 reader shows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hypercover.errors import CallError, SceneError
from hypercover.scene.grid import Grid
from hypercover.scene.io.sample_metadata import (
    BandNumbers,
    Crs,
    LegendEntry,
    Numbers,
    Side,
    Text,
    Texts,
    Transform,
    ValueType,
    check_lengths,
    known_values,
    unusable,
    validated,
)
from hypercover.scene.samples import MOST_WINDOW
from hypercover.scene.scene import Scene
from hypercover.splits.split import PARTS, Split

FORMAT, VERSION = "hypercover windows", 1
NO_PART = len(PARTS)
"""Code of a window that was written without a split."""
PART_CODES = {name: code for code, name in enumerate((*PARTS, "none"))}
"""Code of each part in the dataset ``part``."""
_JSON_KEYS = ("band_names", "legend", "checksums", "split_settings")
_MOST_ATTRIBUTES, _MOST_BYTES = 1000, 2**24
_MOST_SETTINGS, _MOST_NUMBER, _MOST_LETTERS = 64, 2**53, 1000


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"the window size must be odd, got {size}")
    return size


_Bounded = Field(gt=-_MOST_NUMBER, lt=_MOST_NUMBER, allow_inf_nan=False)
_Letters = Annotated[str, Field(max_length=_MOST_LETTERS)]
_Setting = None | bool | Annotated[int, _Bounded] | Annotated[float, _Bounded] | _Letters
_Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class WindowMetadata(BaseModel):
    """What is known of windows apart from their values, labels and positions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["hypercover windows"] = "hypercover windows"
    """Name of the format."""
    version: Literal[1] = 1
    """Version of the format."""
    axes: Text = "window,band,row,col"
    """Order of the axes."""
    window: Annotated[int, Field(ge=1, le=MOST_WINDOW), AfterValidator(_odd)]
    """Side of a window in pixels."""
    dtype: ValueType
    """Type of the values: that of the scene."""
    padding: Text = (
        "edge: windows that reach over the edge of the scene repeat its edge pixels"
    )
    """How windows at the edge of the scene are filled."""
    nodata: Text = "pixels without data are zero in every band"
    """How pixels without data are filled."""
    bands: BandNumbers
    """Band numbers in the source of the scene, from 1."""
    wavelengths: Numbers | None = None
    """Centre of each band in nm, where known for every band."""
    fwhm: Numbers | None = None
    """Full width at half maximum of each band in nm, where known for every band."""
    bbl: Numbers | None = None
    """1 for good bands and 0 for bad ones, where any is marked as bad."""
    band_names: Texts | None = None
    """Name of each band, where they have names."""
    legend: LegendEntry
    """Names and colours of the classes."""
    scene: Text = "scene"
    """Name of the scene."""
    source: Text = ""
    """Path the scene was read from."""
    simulated: bool = False
    """Whether the scene was computed rather than measured."""
    split: Text = "none"
    """Kind of the split whose parts are recorded: random, blocks, …, or none."""
    split_settings: Annotated[
        dict[_Letters, _Setting], Field(max_length=_MOST_SETTINGS)
    ] = Field(default_factory=dict)
    """Settings of that split, such as the size of its blocks."""
    contents: Literal["windows", "coordinates"] | None = None
    """What the file holds; None in older files, which hold windows."""
    checksums: Annotated[tuple[_Checksum, ...], Field(max_length=2**10)] | None = None
    """SHA-256 of windows spread over the file, or None in older files."""
    parts: Text = ", ".join(f"{code} {name}" for name, code in PART_CODES.items())
    """Meaning of the codes in the dataset ``part``."""
    grid_rows: Side
    """Rows of the scene."""
    grid_cols: Side
    """Columns of the scene."""
    crs: Crs | None = None
    """Coordinate reference system as WKT, where known."""
    transform: Transform
    """Affine a, b, c, d, e, f: x = a·col + b·row + c, y = d·col + e·row + f."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        names = ("wavelengths", "fwhm", "bbl", "band_names")
        columns = ((name, getattr(self, name)) for name in names)
        check_lengths(len(self.bands), "bands", columns)
        return self

    @classmethod
    def of(
        cls,
        scene: Scene,
        window: int,
        split: Split | None = None,
        contents: Literal["windows", "coordinates"] | None = None,
    ) -> "WindowMetadata":
        """Collect the metadata of windows around pixels of a scene.

        Raises
        ------
        SceneError
            If the type of the scene's values cannot be stored.
        """
        dtype = np.dtype("u1" if scene.cube.dtype.kind == "b" else scene.cube.dtype)
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise SceneError(
                "Windows hold integers or floats of at most 64 bits, but the values of "
                f"{scene.name} are {dtype}; convert the image first."
            )
        grid, bad = scene.grid, scene.bad
        settings: Mapping[str, Any] = {} if split is None else split.settings
        entries = {
            "window": window,
            "dtype": dtype.name,
            "bands": scene.bands.tolist(),
            "legend": scene.legend,
            "grid_rows": grid.rows,
            "grid_cols": grid.cols,
            "crs": grid.crs,
            "transform": grid.transform,
            "wavelengths": known_values(scene.wavelengths),
            "fwhm": known_values(scene.fwhm),
            "bbl": (~bad).astype(float).tolist() if bad.any() else None,
            "band_names": scene.band_names,
            "scene": scene.name,
            "source": scene.source,
            "simulated": scene.simulated,
            "split": "none" if split is None else split.kind,
            "split_settings": {key: of for key, of in settings.items() if _is_setting(of)},
            "contents": contents,
        }
        try:
            return validated(cls, entries)
        except ValueError as error:
            raise SceneError(
                f"The metadata of {scene.name} cannot be stored with its windows: {error}; "
                "correct the image."
            ) from error

    @property
    def grid(self) -> Grid:
        """Shape and georeference of the scene."""
        return Grid(self.grid_rows, self.grid_cols, self.crs, self.transform)

    @property
    def bad(self) -> tuple[bool, ...] | None:
        """Whether each band is marked as bad, or None where none is."""
        return None if self.bbl is None else tuple(good == 0 for good in self.bbl)

    @property
    def window_shape(self) -> tuple[int, int, int]:
        """Shape of one window: (band, row, col)."""
        return len(self.bands), self.window, self.window

    @property
    def window_bytes(self) -> int:
        """Bytes of one window before compression."""
        return int(np.prod(self.window_shape)) * np.dtype(self.dtype).itemsize

    def attributes(self) -> dict[str, Any]:
        """Return HDF5 attributes: numbers, arrays of numbers, and text."""
        return {
            key: _fixed(json.dumps(value, ensure_ascii=False))
            if key in _JSON_KEYS
            else _fixed(value)
            if isinstance(value, str)
            else np.uint8(value)
            if isinstance(value, bool)
            else np.array(value)
            for key, value in self.model_dump(exclude_none=True).items()
        }

    @classmethod
    def read(cls, path: Path, attributes: Any) -> "WindowMetadata":
        """Read and validate the attributes of an HDF5 file.

        Raises
        ------
        SceneError
            If they are damaged, contradictory, or not those of a window file.
        """
        try:
            entries = _plain(attributes)
            if entries.get("format") != FORMAT:
                raise ValueError(f"it is not a file of the format {FORMAT!r}")
            if entries.get("version") != VERSION:
                raise ValueError(
                    f"it is of version {entries.get('version')}, and only version "
                    f"{VERSION} can be read"
                )
            return validated(cls, entries)
        except ValueError as error:
            raise damaged_file(path, str(error)) from error


def damaged_file(path: Path, why: str) -> CallError:
    """Return the error of a window file that cannot be used."""
    return unusable(path, "window file", why, "write it again", SceneError)


def _is_setting(value: Any) -> bool:
    """Tell whether a setting of a split is plain and small enough to be stored."""
    if isinstance(value, str):
        return len(value) <= _MOST_LETTERS
    return value is None or (isinstance(value, int | float) and abs(value) < _MOST_NUMBER)


def _fixed(text: str) -> npt.NDArray[np.bytes_]:
    """Return text that HDF5 stores inline rather than by reference."""
    import h5py

    data = text.encode()
    return np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def _plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values of bounded size."""
    if len(attributes) > _MOST_ATTRIBUTES:
        raise ValueError("it has far too many attributes")
    plain: dict[str, Any] = {}
    for key in list(attributes):
        attribute = attributes.get_id(key)
        size = int(np.prod(attribute.shape, dtype=object)) * attribute.dtype.itemsize
        if size > _MOST_BYTES or attribute.dtype.kind not in "iufSO":
            raise ValueError(f"its attribute {key[:40]!r} is not a number, list or text")
        value = attributes[key]
        value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        plain[key] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    for key in plain.keys() & set(_JSON_KEYS):
        try:
            plain[key] = json.loads(plain[key])
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"its attribute {key!r} is not JSON") from error
    return plain
