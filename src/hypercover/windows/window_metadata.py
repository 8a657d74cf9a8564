"""What a window file says of its windows, as attributes that any reader of HDF5 shows."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid
from hypercover.scene.io.entries import Entries
from hypercover.scene.legend import Legend
from hypercover.scene.samples import MOST_WINDOW
from hypercover.scene.scene import Scene
from hypercover.splits.split import PARTS, Split

__all__ = ["NO_PART", "PART_CODES", "WindowAbout"]

FORMAT, VERSION = "hypercover windows", 1
NO_PART = len(PARTS)
"""Code of a window that was written without a split."""
PART_CODES = {name: code for code, name in enumerate((*PARTS, "none"))}
"""Code of each part in the dataset ``part``."""
_PADDING = "edge: windows that reach over the edge of the scene repeat its edge pixels"
_NODATA = "pixels without data are zero in every band"
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
          "float16", "float32", "float64")  # fmt: skip
_MOST_BANDS = 2**20
_MOST_ITEMS = 2**24
_CONTENTS = ("windows", "coordinates", None)
_CHECKSUM = re.compile("[0-9a-f]{64}")
_IN_JSON = {"band_names", "legend", "checksums", "split_settings"}
_MOST_SETTINGS, _MOST_NUMBER, _MOST_LETTERS = 64, 2**53, 1000


@dataclass(frozen=True, eq=False)
class WindowAbout:
    """All that is known of windows beside their values, labels and places."""

    window: int
    """Side of a window in pixels."""
    dtype: np.dtype[Any]
    """Type of the values: that of the scene."""
    bands: tuple[int, ...]
    """Band numbers in the source of the scene, from 1."""
    legend: Legend
    """Names and colours of the classes."""
    grid: Grid
    """Shape and georeference of the scene."""
    wavelengths: tuple[float, ...] | None = None
    """Centre of each band in nm, or None where not known."""
    fwhm: tuple[float, ...] | None = None
    """Full width at half maximum of each band in nm, or None where not known."""
    bad: tuple[bool, ...] | None = None
    """Whether each band is marked as bad, or None where none is."""
    band_names: tuple[str, ...] | None = None
    """Name of each band, or None where they have none."""
    scene: str = "scene"
    """Name of the scene."""
    source: str = ""
    """Path the scene was read from."""
    simulated: bool = False
    """Whether the scene was computed rather than measured."""
    split: str = "none"
    """How the split was made whose parts are noted: random, blocks, …, or none."""
    split_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of that split, such as the size of its blocks; empty where not known."""
    contents: str | None = None
    """``windows`` or ``coordinates``; None in files that do not say it."""
    checksums: tuple[str, ...] | None = None
    """SHA-256 of windows spread over the file, or None in files that have none."""

    @classmethod
    def of(
        cls,
        scene: Scene,
        window: int,
        split: Split | None = None,
        contents: str | None = None,
    ) -> "WindowAbout":
        """Note what is known of a scene and of the split whose parts are noted."""
        dtype = np.dtype(
            np.uint8 if scene.cube.dtype.kind == "b" else scene.cube.dtype
        ).newbyteorder("=")
        if dtype.name not in _TYPES:
            raise SceneError(
                f"Windows hold whole or real numbers of at most 64 bits, and those of "
                f"{scene.name} are {dtype}; convert the image first."
            )
        return cls(
            window,
            dtype,
            tuple(scene.bands.tolist()),
            scene.legend,
            scene.grid,
            wavelengths=_known(scene.wavelengths),
            fwhm=_known(scene.fwhm),
            bad=tuple(scene.bad.tolist()) if scene.bad.any() else None,
            band_names=scene.band_names,
            scene=scene.name,
            source=scene.source,
            simulated=scene.simulated,
            split="none" if split is None else split.kind,
            split_settings={} if split is None else _plain_settings(split.settings),
            contents=contents,
        )

    @property
    def window_shape(self) -> tuple[int, int, int]:
        """Shape of one window: (band, row, col)."""
        return len(self.bands), self.window, self.window

    @property
    def window_bytes(self) -> int:
        """Bytes of one window before compression."""
        return int(np.prod(self.window_shape)) * self.dtype.itemsize

    def attributes(self) -> dict[str, Any]:
        """Return all as attributes of HDF5: numbers, lists of numbers, and text."""
        place = {
            "grid_rows": self.grid.rows,
            "grid_cols": self.grid.cols,
            "crs": self.grid.crs,
            "transform": np.array(self.grid.transform),
        }
        known = {
            "format": FORMAT,
            "version": VERSION,
            "axes": "window,band,row,col",
            "window": self.window,
            "dtype": self.dtype.name,
            "padding": _PADDING,
            "nodata": _NODATA,
            "bands": np.array(self.bands),
            "wavelengths": _array(self.wavelengths),
            "fwhm": _array(self.fwhm),
            "bbl": None if self.bad is None else (~np.array(self.bad)).astype(np.uint8),
            "band_names": _json(self.band_names),
            "legend": _json(self.legend.to_json()),
            "scene": self.scene,
            "source": self.source,
            "simulated": np.uint8(self.simulated),
            "split": self.split,
            "split_settings": _json(dict(self.split_settings)),
            "contents": self.contents,
            "checksums": _json(self.checksums),
            "parts": ", ".join(f"{code} {name}" for name, code in PART_CODES.items()),
            **place,
        }
        return {
            key: _fixed(value) if isinstance(value, str) else value
            for key, value in known.items()
            if value is not None
        }

    @classmethod
    def read(cls, path: Path, attributes: Any) -> "WindowAbout":
        """Read attributes of an HDF5 file after checking everything in them.

        Raises
        ------
        SceneError
            If they are not those of a window file, damaged, or contradict each other.
        """
        take = entries(path, _plain(path, attributes))
        if take.about.get("format") != FORMAT:
            raise take.damaged(f"it is no file of the format '{FORMAT}'")
        if take.about.get("version") != VERSION:
            raise take.damaged(
                f"it is of version {take.about.get('version')}, and version {VERSION} is "
                "the one that can be read here"
            )
        bands = take.checked("bands", lambda value: isinstance(value, list))
        count = len(bands)
        size = take.whole("window", 1, MOST_WINDOW)
        if not 1 <= count <= _MOST_BANDS or size % 2 == 0:
            raise take.damaged(f"it names {count} bands and windows of {size} pixels")
        names = None if take.about.get("band_names") is None else take.names("band_names")
        if names is not None and len(names) != count:
            raise take.damaged(f"it names {len(names)} of {count} bands")
        good = take.numbers("bbl", count)
        return cls(
            size,
            np.dtype(take.checked("dtype", lambda value: value in _TYPES)),
            take.bands("bands", count) or (),
            take.legend(),
            take.grid("grid_"),
            wavelengths=take.numbers("wavelengths", count),
            fwhm=take.numbers("fwhm", count),
            bad=None if good is None else tuple(one == 0 for one in good),
            band_names=names,
            scene=take.text("scene"),
            source=take.text("source"),
            simulated=bool(take.whole("simulated", 0, 1)),
            split=take.text("split"),
            split_settings=take.checked("split_settings", _are_settings) or {},
            contents=take.checked("contents", lambda value: value in _CONTENTS),
            checksums=take.checked("checksums", _are_checksums) and take.names("checksums"),
        )


def entries(path: Path, about: dict[str, Any]) -> Entries:
    """Return what takes entries out of a window file."""
    return Entries(path, about, "window file", "write it again", SceneError)


def _are_checksums(value: Any) -> bool:
    return value is None or (
        isinstance(value, list)
        and all(isinstance(one, str) and _CHECKSUM.fullmatch(one) for one in value)
    )


def _are_settings(value: Any) -> bool:
    """Tell whether a value may be the settings of a split; None where there are none."""
    return value is None or (
        isinstance(value, dict)
        and len(value) <= _MOST_SETTINGS
        and all(len(key) <= _MOST_LETTERS and _is_setting(of) for key, of in value.items())
    )


def _is_setting(value: Any) -> bool:
    """Tell whether a value is yes or no, a number within bounds, a short text, or nothing."""
    if isinstance(value, str):
        return len(value) <= _MOST_LETTERS
    # Not a number is below nothing.
    return value is None or (isinstance(value, int | float) and abs(value) < _MOST_NUMBER)


def _plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a split that a file can keep."""
    return {key: value for key, value in settings.items() if _is_setting(value)}


def _known(values: npt.NDArray[np.float64] | None) -> tuple[float, ...] | None:
    """Return a value for every band, or None where one is not known."""
    if values is None or not np.isfinite(values).all():
        return None
    return tuple(values.tolist())


def _array(values: tuple[float, ...] | None) -> npt.NDArray[np.float64] | None:
    return None if values is None else np.array(values)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _fixed(text: str) -> npt.NDArray[np.bytes_]:
    """Return text as HDF5 keeps it in one place, without a reference to elsewhere."""
    import h5py

    data = text.encode()
    return np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def _plain(path: Path, attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values, lists and text of bounded size."""
    damaged = entries(path, {}).damaged
    if len(attributes) > 1000:
        raise damaged("it has far too many attributes")
    plain: dict[str, Any] = {}
    for key in list(attributes):
        attribute = attributes.get_id(key)
        count = int(np.prod(attribute.shape, dtype=object))
        if (
            count * attribute.dtype.itemsize > _MOST_ITEMS
            or attribute.dtype.kind not in "iufSO"
        ):
            raise damaged(f"its attribute {key[:40]!r} is no number, list or text")
        plain[key] = _value(attributes[key])
    try:
        for key in _IN_JSON & set(plain):
            plain[key] = json.loads(plain[key])
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(
            "its legend, band names, checksums or settings of the split are no JSON"
        ) from error
    return plain


def _value(value: Any) -> Any:
    """Return one attribute as a plain value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray | np.generic):
        return _value(value.tolist())
    return value
