"""Positions of the samples in a LIBSVM file, and predictions of ``svm-predict``."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from hypercover.errors import CallError, shorten
from hypercover.files import write_text
from hypercover.libsvm.data import MOST_FEATURES
from hypercover.memory import check_memory
from hypercover.scene.grid import Grid
from hypercover.scene.io import sample_metadata as entries
from hypercover.scene.legend import MAX_CODE
from hypercover.scene.metadata import clean_header
from hypercover.types import Array, Floats, Ints, Singles

_MOST_BYTES = 2**28

_PER_PIXEL = 8


def _integers(value: Any) -> Ints:
    if isinstance(value, np.ndarray):
        return value
    if not (isinstance(value, list) and all(type(at) is int for at in value)):
        raise ValueError("it must be a list of whole numbers")
    if value and not 0 <= min(value) <= max(value) < 2**24:
        raise ValueError("it must be whole numbers from 0")
    return np.array(value, dtype=np.int64)


def _check_grid(grid: Grid) -> Grid:
    if not 0 < min(grid.shape) <= max(grid.shape) <= 2**24:
        raise ValueError(f"{grid.rows} × {grid.cols} pixels are not an image")
    if not np.isfinite(grid.transform).all():
        raise ValueError("its transform is not finite")
    return grid if grid.crs is None else replace(grid, crs=entries.check_crs(grid.crs))


_Integers = Annotated[
    Ints, PlainValidator(_integers), PlainSerializer(lambda numbers: numbers.tolist())
]


class Positions(BaseModel):
    """Positions of samples, and what is known of their scene and features."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    format: Literal["hypercover libsvm positions 1"] = "hypercover libsvm positions 1"
    """Name and version of the format."""
    part: entries.Text = "labelled"
    """Which samples these are: training, validation, test, labelled or all."""
    dtype: entries.ValueType = "float64"
    """Type of the values before they became text."""
    dense: bool = True
    """Whether every line holds every feature."""
    scene: entries.Text = "scene"
    """Name of the scene."""
    simulated: bool = False
    """Whether the scene was computed rather than measured."""
    seen: entries.Text = "bands"
    """What the features are: the scene's bands, a chain, or what a model sees."""
    notes: entries.Texts = ()
    """Remarks, one sentence each."""
    grid: Annotated[Grid, AfterValidator(_check_grid)]
    """Shape and georeference of the scene."""
    legend: entries.LegendEntry
    """Names and colours of the classes."""
    features: Annotated[entries.Texts, Field(min_length=1, max_length=MOST_FEATURES)]
    """Name of each feature, in the order of the indices."""
    bands: entries.BandNumbers | None = None
    """Band number of each feature, where features are bands."""
    wavelengths: entries.Numbers | None = None
    """Centre of each feature in nm, where features are bands and it is known."""
    fwhm: entries.Numbers | None = None
    """Full width at half maximum of each feature in nm, where known."""
    bad: tuple[bool, ...] | None = None
    """Whether each feature is a band marked as bad, where any is."""
    header: Annotated[dict[str, str], AfterValidator(clean_header)] = Field(
        default_factory=dict
    )
    """Metadata of the scene as a whole: sensor, time of acquisition and so on."""
    rows: _Integers
    """Row of each sample (n,), from 0."""
    cols: _Integers
    """Column of each sample (n,), from 0."""

    @model_validator(mode="after")
    def _check_agreement(self) -> Self:
        entries.check_lengths(len(self), "rows", [("cols", self.cols)])
        names = ("bands", "wavelengths", "fwhm", "bad")
        columns = ((name, getattr(self, name)) for name in names)
        entries.check_lengths(self.n_features, "features", columns)
        entries.check_pixels(self.rows, self.cols, self.grid)
        return self

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.rows)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.features)

    def to_map(self, values: Array, fill: float, what: str) -> Array:
        """Return a map (y, x) with one value for each sample and ``fill`` elsewhere.

        Raises
        ------
        CallError
            If there are more or fewer values than positions.
        """
        if len(values) != len(self):
            raise CallError(
                f"{what} holds {len(values)} samples, its positions file {len(self)}; give its own."
            )
        n_bytes = self.grid.rows * self.grid.cols * _PER_PIXEL
        check_memory(n_bytes, what, "use a larger machine")
        image = np.full(self.grid.shape, fill, dtype=values.dtype)
        image[self.rows, self.cols] = values
        return image


def positions_path(data: str | Path) -> Path:
    """Return the path of the positions file of a data file.

    Examples
    --------
    >>> positions_path("rome-training.el").name
    'rome-training.positions.json'
    """
    return Path(data).with_suffix(".positions.json")


def write_positions(path: str | Path, positions: Positions) -> None:
    """Write a positions file, one entry a line.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    counts = {"samples": len(positions), "n_features": positions.n_features}
    values = counts | positions.model_dump(mode="json")
    lines = (
        f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}"
        for key, value in values.items()
    )
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read_positions(path: str | Path) -> Positions:
    """Read and validate a positions file.

    Raises
    ------
    CallError
        If it is missing, damaged or contradictory.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError("it is larger than 256 MiB")
        return entries.validated(Positions, file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(file, "positions file", error, "write the data again") from error


def _unusable(file: Path, what: str, error: Exception, remedy: str) -> CallError:
    """Return the error of a file that is damaged or cannot be read."""
    why = (
        f"it cannot be read ({error.strerror})"
        if isinstance(error, OSError)
        else str(error)
    )
    return entries.unusable(file, what, shorten(why, 150), remedy)


_MOST_PREDICTION = 2**32
"""Bytes of a file of predictions."""

Codes = npt.NDArray[np.uint16]


def read_prediction(path: str | Path, samples: int) -> tuple[Codes, Singles | None]:
    r"""Read the predicted class of each sample and, if there, its probability.

    Parameters
    ----------
    path : path
        Output of ``svm-predict``: lines of ``label``; or, with ``-b 1``, a line
        ``labels 1 2 …`` and then lines of ``label p1 p2 …``.
    samples : int
        Number of samples that were predicted.

    Raises
    ------
    CallError
        If the file is damaged or holds another number of labels; the line is named.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "predicted.txt"
    ...     count = path.write_text("labels 2 5\n5 0.25 0.75\n2 0.5 0.5\n")
    ...     read_prediction(path, 2)
    (array([5, 2], dtype=uint16), array([0.75, 0.5 ], dtype=float32))
    """
    file = Path(path)
    order, table = _prediction_table(file, samples)
    first = 2 if len(order) else 1
    codes, width = table[:, 0], table.shape[1]
    if len(table) != samples:
        count = f"more than {samples}" if len(table) > samples else str(len(table))
        raise CallError(
            f"{file} holds {count} labels where {samples} samples have positions; give the "
            "prediction of the data these positions belong to."
        )
    whole = (codes >= 1) & (codes <= MAX_CODE) & (codes == np.rint(codes))
    if not whole.all() or not np.isin(order, np.arange(1, MAX_CODE + 1)).all():
        at = int(np.argmin(whole))
        raise CallError(
            f"{file}, line {at + first}: the label {codes[at]:g} is not a class code from 1 to "
            f"{MAX_CODE}; predict with a model of class codes."
        )
    if width != 1 + len(order) or (len(order) and not np.isin(codes, order).all()):
        raise CallError(
            f"{file} must have one label a line, or a first line of labels and then a label "
            "and one probability for each of them; give the output of svm-predict."
        )
    predicted = codes.astype(np.uint16)
    if not len(order):
        return predicted, None
    rising = np.argsort(order)
    column = 1 + rising[np.searchsorted(order, codes, sorter=rising)]
    shares = table[np.arange(samples), column]
    valid = (shares >= 0) & (shares <= 1)
    if not valid.all():
        at = int(np.argmin(valid))
        raise CallError(
            f"{file}, line {at + first}: the probability {shares[at]:g} is not from 0 to 1."
        )
    return predicted, shares.astype(np.float32)


def _prediction_table(file: Path, samples: int) -> tuple[Floats, Floats]:
    """Return the labels of the first line, if it has any, and the numbers of the others."""
    try:
        if file.stat().st_size > _MOST_PREDICTION:
            raise ValueError("it is larger than 4 GiB")
        with file.open(encoding="ascii") as lines:
            head = lines.readline().split()
            if head[:1] != ["labels"]:
                head = []
                lines.seek(0)
            with warnings.catch_warnings():
                # Missing lines are counted instead.
                warnings.simplefilter("ignore", UserWarning)
                table = np.loadtxt(lines, ndmin=2, comments=None, max_rows=samples + 1)
            return np.array(head[1:], dtype=np.float64), table
    except (OSError, ValueError) as error:
        raise _unusable(
            file, "prediction", error, "give the output of svm-predict"
        ) from error
