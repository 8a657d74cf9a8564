"""What ``svm-predict`` wrote: a label a line, and probabilities where they were asked for."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.files import write_text
from hypercover.libsvm.data import MOST_FEATURES, Layout
from hypercover.scene.grid import Grid
from hypercover.scene.io.entries import Entries
from hypercover.scene.io.limits import check_memory
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.metadata import clean_header

__all__ = [
    "Positions",
    "positions_beside",
    "read_positions",
    "read_prediction",
    "write_positions",
]

_FORMAT = "hypercover libsvm positions 1"

_MOST_BYTES = 2**28

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
    fwhm: tuple[float, ...] | None = None
    """Full width at half maximum of each feature in nm, where it is known."""
    bad: tuple[bool, ...] | None = None
    """Whether each feature is a band marked as bad, where its file marks any."""
    header: Mapping[str, str] = field(default_factory=dict)
    """What the file of the scene says of it as a whole: sensor, moment and so on."""
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
        check_memory(
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
        "fwhm": positions.fwhm,
        "bad": positions.bad,
        "header": dict(positions.header),
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
    take = _document(Path(path))
    grid = take.inner("grid").grid()
    features = take.names("features")
    if take.whole("n_features", 1, MOST_FEATURES) != len(features):
        raise take.damaged("it does not name each feature")
    return Positions(
        *_places(take, grid),
        grid,
        take.legend(),
        features,
        take.bands("bands", len(features)),
        take.numbers("wavelengths", len(features)),
        take.numbers("fwhm", len(features)),
        take.truths("bad", len(features)),
        clean_header(take.checked("header", _is_header) or {}),
        part=take.text("part"),
        dtype=take.checked("dtype", lambda value: value in _TYPES),
        dense=take.truth("dense"),
        scene=take.text("scene"),
        simulated=take.truth("simulated"),
        seen=take.text("seen"),
        notes=take.names("notes"),
    )


def _is_header(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    )


def _document(file: Path) -> Entries:
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
        raise _entries_of(file, {}).damaged("it is no readable JSON") from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise _entries_of(file, {}).damaged(f"it is no file of the format {_FORMAT!r}")
    return _entries_of(file, about)


def _entries_of(file: Path, about: dict[str, Any]) -> Entries:
    return Entries(file, about, "positions file", "write the data again")


def _places(take: Entries, grid: Grid) -> tuple[Ints, Ints]:
    """Return rows and columns after checking that they are places apart in the grid."""
    samples = take.whole("samples", 1, 2**40)
    found = []
    for key, side in (("rows", grid.rows), ("cols", grid.cols)):
        given = take.checked(key, lambda value: isinstance(value, list))
        inside = all(type(at) is int and 0 <= at < side for at in given)
        if not inside or len(given) != samples:
            raise take.damaged(f"its {key} are not {samples} whole numbers below {side}")
        found.append(np.array(given, dtype=np.int64))
    take.check_places(found[0], found[1], grid)
    return found[0], found[1]


_LONGEST = 2**22

_OF_THESE = "give the prediction of the data these positions belong to"

Codes = npt.NDArray[np.uint16]


def read_prediction(
    path: str | Path, samples: int
) -> tuple[Codes, npt.NDArray[np.float32] | None]:
    r"""Read the class of each sample and, after ``svm-predict -b 1``, how probable it is.

    Parameters
    ----------
    path : path
        Lines of ``label``, or ``labels 1 2 …`` and then lines of ``label p1 p2 …``.
    samples : int
        Number of samples that were predicted.

    Raises
    ------
    CallError
        If the file is none, or holds another number of labels; the line is named.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "predicted.txt"
    ...     count = path.write_text("labels 2 5\n5 0.25 0.75\n2 0.5 0.5\n")
    ...     read_prediction(path, 2)
    (array([5, 2], dtype=uint16), array([0.75, 0.5 ], dtype=float32))
    """
    layout = Layout(Path(path))
    codes, sure = np.zeros(samples, np.uint16), np.zeros(samples, np.float32)
    order: dict[int, int] = {}
    count = 0
    for line, words in _lines(layout):
        if line == 1 and words[:1] == ["labels"]:
            found = [_code(word, layout, line) for word in words[1:]]
            order = {code: place for place, code in enumerate(found)}
            continue
        if count == samples:
            why = f"it follows the labels of all {samples} samples; {_OF_THESE}"
            raise layout.refused(line, why)
        codes[count] = _code(words[0] if words else "", layout, line)
        sure[count] = _share(words, order, layout, line)
        count += 1
    if count < samples:
        raise CallError(
            f"{layout.path} holds {count} labels where {samples} samples have positions; "
            f"{_OF_THESE}."
        )
    return codes, sure if order else None


def _lines(layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Read line by line, none of them without end."""
    try:
        with layout.path.open("rb") as file:
            line = 0
            while text := file.readline(_LONGEST + 1):
                line += 1
                if len(text) > _LONGEST:
                    raise layout.refused(
                        line, f"the line is longer than {_LONGEST} bytes; give the output of "
                        "svm-predict"
                    )  # fmt: skip
                yield line, text.decode("ascii", "backslashreplace").split()
    except OSError as error:
        raise CallError(
            f"The prediction {layout.path} cannot be read ({error.strerror}); give the output "
            "file of svm-predict."
        ) from error


def _number(word: str) -> float:
    try:
        return np.nan if "_" in word else float(word)
    except ValueError:
        return np.nan


def _code(word: str, layout: Layout, line: int) -> int:
    """Return a class code, which a map can hold."""
    value = _number(word)
    if not 1 <= value <= MAX_CODE or value != int(value):
        raise layout.refused(
            line, f"the label {word[:20]!r} is no class code from 1 to {MAX_CODE}; predict "
            "with a model of class codes"
        )  # fmt: skip
    return int(value)


def _share(words: list[str], order: dict[int, int], layout: Layout, line: int) -> float:
    """Return the probability of the label of a line; 0 where none are given."""
    if not order and len(words) == 1:
        return 0.0
    if not order:
        raise layout.refused(line, "one label a line is wanted; give svm-predict's output")
    place = order.get(int(_number(words[0])))
    if place is None or len(words) != len(order) + 1:
        raise layout.refused(
            line, f"a label of the first line and {len(order)} probabilities are wanted; give "
            "svm-predict's output"
        )  # fmt: skip
    share = _number(words[1 + place])
    if not 0 <= share <= 1:
        raise layout.refused(line, f"the probability {words[1 + place][:20]!r} is none")
    return share
