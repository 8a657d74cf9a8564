"""Where the samples of a LIBSVM file lie: the side file that makes a map of a prediction.

A LIBSVM file knows no place.  Beside ``F.el`` lies ``F.positions.json`` with the
row and column of each of its lines, and what is known of the scene: so a column
of predicted labels becomes a georeferenced map with names and colours again.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.files import write_text
from hypercover.samples.libsvm_lines import MOST_FEATURES
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend
from hypercover.scene.memory import check_fits

__all__ = ["Positions", "positions_beside", "read_positions", "write_positions"]

_FORMAT = "hypercover libsvm positions 1"
_MOST_BYTES = 2**28
_MOST_SIDE = 2**24
_MOST_TEXT = 2**16
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
          "float16", "float32", "float64")  # fmt: skip
_PER_PIXEL = 8

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Positions:
    """The places of samples and what is known of their scene and features."""

    rows: Ints
    """Row of each sample (n,)."""
    cols: Ints
    """Column of each sample (n,)."""
    grid: Grid
    """Shape and georeference of the scene."""
    legend: Legend
    """Names and colours of the classes."""
    features: tuple[str, ...]
    """Name of each feature, in the order of the indices."""
    bands: tuple[int, ...] | None = None
    """Band number of each feature, where features are bands."""
    wavelengths: tuple[float, ...] | None = None
    """Centre of each feature in nm, where features are bands and it is known."""
    part: str = "labelled"
    """Which samples these are: training, validation, test, labelled or all."""
    dtype: str = "float64"
    """Type of the values before they became text."""
    dense: bool = True
    """Whether every line holds every feature."""
    scene: str = "scene"
    """Name of the scene."""
    simulated: bool = False
    """Whether the scene was computed rather than measured."""
    seen: str = "bands"
    """What the features are: the scene's bands, a chain, or what a model sees."""
    notes: tuple[str, ...] = field(default=())
    """What people should know, one sentence each."""

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.rows)

    @property
    def n_features(self) -> int:
        """Number of features: never guessed from a file."""
        return len(self.features)

    def spread(
        self, values: npt.NDArray[Any], fill: float, what: str
    ) -> npt.NDArray[np.generic]:
        """Lay one value for each sample out as a map (y, x), ``fill`` elsewhere.

        Raises
        ------
        CallError
            If there is another number of values than of positions.
        """
        if len(values) != len(self):
            raise CallError(
                f"{what} holds {len(values)} samples, its positions file {len(self)}; give "
                "the positions file that was written with the data."
            )
        check_fits(
            self.grid.rows * self.grid.cols * _PER_PIXEL, what, "use a larger machine"
        )
        laid = np.full(self.grid.shape, fill, dtype=values.dtype)
        laid[self.rows, self.cols] = values
        return laid


def positions_beside(data: str | Path) -> Path:
    """Return the path of the side file of a data file.

    Examples
    --------
    >>> positions_beside("rome-training.el").name
    'rome-training.positions.json'
    """
    return Path(data).with_suffix(".positions.json")


def write_positions(path: str | Path, positions: Positions) -> None:
    """Write a side file, one entry a line.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    lines = (
        f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}"
        for key, value in _entries(positions).items()
    )
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _entries(positions: Positions) -> dict[str, Any]:
    """Return all that is known as plain values, the long ones last."""
    plain = ("part", "n_features", "dtype", "dense", "scene", "simulated", "seen", "notes")
    grid = positions.grid
    place = {"crs": grid.crs, "transform": list(grid.transform)}
    return {
        "format": _FORMAT,
        "samples": len(positions),
        **{name: getattr(positions, name) for name in plain},
        "grid": {"rows": grid.rows, "cols": grid.cols, **place},
        "legend": positions.legend.to_json(),
        "features": positions.features,
        "bands": positions.bands,
        "wavelengths": positions.wavelengths,
        "rows": positions.rows.tolist(),
        "cols": positions.cols.tolist(),
    }


def read_positions(path: str | Path) -> Positions:
    """Read a side file after checking everything in it.

    Raises
    ------
    CallError
        If it is missing, damaged, or its parts contradict each other.
    """
    file = Path(path)
    about = _document(file)
    take = _Taking(file, about)
    grid = _grid(take)
    features = _names(take, "features")
    if take.whole("n_features", 1, MOST_FEATURES) != len(features):
        raise take.damaged("it does not name each feature")
    return Positions(
        *_places(take, grid),
        grid,
        _legend(take),
        features,
        _bands(take, len(features)),
        _wavelengths(take, len(features)),
        part=take.text("part"),
        dtype=take.checked("dtype", lambda value: value in _TYPES),
        dense=take.checked("dense", lambda value: isinstance(value, bool)),
        scene=take.text("scene"),
        simulated=take.checked("simulated", lambda value: isinstance(value, bool)),
        seen=take.text("seen"),
        notes=_names(take, "notes"),
    )


@dataclass(frozen=True)
class _Taking:
    """Takes entries out of a document that may come from a stranger."""

    file: Path
    about: dict[str, Any]

    def damaged(self, why: str) -> CallError:
        return CallError(
            f"The positions file {self.file} cannot be used: {why}; write the data again."
        )

    def checked(self, key: str, fits: Callable[[Any], bool]) -> Any:
        value = self.about.get(key)
        if not fits(value):
            raise self.damaged(f"its entry {key!r} is missing or not what it must be")
        return value

    def whole(self, key: str, least: int, most: int) -> int:
        return int(
            self.checked(key, lambda value: type(value) is int and least <= value <= most)
        )

    def text(self, key: str) -> str:
        return str(
            self.checked(
                key, lambda value: isinstance(value, str) and len(value) < _MOST_TEXT
            )
        )


def _document(file: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise CallError(f"The positions file {file} is far too large to be one.")
        about = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CallError(
            f"The positions file {file} cannot be read ({error.strerror}); give the file "
            "that was written beside the data."
        ) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, CallError):
            raise
        raise _Taking(file, {}).damaged("it is no readable JSON") from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise _Taking(file, {}).damaged(f"it is no file of the format {_FORMAT!r}")
    return about


def _grid(take: _Taking) -> Grid:
    """Return the grid of the scene."""
    inner = _Taking(take.file, take.checked("grid", lambda value: isinstance(value, dict)))
    crs = inner.checked(
        "crs",
        lambda value: value is None or (isinstance(value, str) and len(value) < _MOST_TEXT),
    )
    if crs is not None:
        _check_crs(take, crs)
    return Grid(
        inner.whole("rows", 1, _MOST_SIDE),
        inner.whole("cols", 1, _MOST_SIDE),
        crs,
        tuple(map(float, inner.checked("transform", lambda value: _numbers(value, 6)))),  # type: ignore[arg-type]
    )


def _check_crs(take: _Taking, text: str) -> None:
    """Refuse a coordinate system that is no WKT."""
    from rasterio import Env
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        # Inside it GDAL does not print errors of its own.
        with Env():
            CRS.from_wkt(text)
    except CRSError as error:
        raise take.damaged(f"its coordinate system {text[:40]!r} is no WKT") from error


def _numbers(value: Any, count: int) -> bool:
    """Tell whether a value is a list of so many finite numbers."""
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(part) in (int, float) and abs(part) < 1e300 for part in value)
    )


def _places(take: _Taking, grid: Grid) -> tuple[Ints, Ints]:
    """Return rows and columns after checking that they are places apart in the grid."""
    samples = take.whole("samples", 1, 2**40)
    found = []
    for key, side in (("rows", grid.rows), ("cols", grid.cols)):
        given = take.checked(key, lambda value: isinstance(value, list))
        inside = all(type(at) is int and 0 <= at < side for at in given)
        if not inside or len(given) != samples:
            raise take.damaged(f"its {key} are not {samples} whole numbers below {side}")
        found.append(np.array(given, dtype=np.int64))
    rows, cols = found
    if len(np.unique(rows * grid.cols + cols)) < samples:
        raise take.damaged("two samples lie on one pixel")
    return rows, cols


def _names(take: _Taking, key: str) -> tuple[str, ...]:
    """Return a list of short texts."""
    return tuple(
        take.checked(
            key,
            lambda value: (
                isinstance(value, list)
                and all(isinstance(name, str) and len(name) < _MOST_TEXT for name in value)
            ),
        )
    )


def _legend(take: _Taking) -> Legend:
    """Return the legend of the classes."""
    try:
        return Legend.from_json(take.about["legend"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise take.damaged("its legend is not one") from error


def _bands(take: _Taking, count: int) -> tuple[int, ...] | None:
    """Return a band number for each feature, or None where features are no bands."""
    given = take.checked("bands", lambda value: value is None or _numbers(value, count))
    if given is None:
        return None
    if not all(type(band) is int and band > 0 for band in given):
        raise take.damaged("its bands are not whole numbers from 1")
    return tuple(given)


def _wavelengths(take: _Taking, count: int) -> tuple[float, ...] | None:
    """Return a wavelength for each feature, or None where they are not known."""
    given = take.checked(
        "wavelengths", lambda value: value is None or _numbers(value, count)
    )
    return None if given is None else tuple(map(float, given))
