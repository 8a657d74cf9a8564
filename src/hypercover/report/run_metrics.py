"""What a run left in ``metrics.json``, read back and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hypercover.errors import CallError
from hypercover.figures.formatting import (
    describe_accuracy_drop,
    describe_best_cell,
    describe_folds,
    describe_seed_choices,
    describe_speed,
    format_gamma,
    format_minutes,
    suggest_wider_grid,
)
from hypercover.files import DamageError, read_sealed

__all__ = [
    "LENIENT",
    "ClassScore",
    "FeatureLeakageMetrics",
    "Integer",
    "LeakageMetrics",
    "ModelMetrics",
    "Range",
    "RunMetrics",
    "SearchMetrics",
    "SearchTable",
    "Share",
    "SplitMetrics",
    "TrainingMetrics",
    "read_json_model",
    "read_run_metrics",
    "read_search",
]

_BIGGEST = 64 * 2**20
"""Bytes of the largest file that is read."""

Share = float | None

Range = tuple[float, float] | None
"""Lower and upper end, where both are known."""

Integer = Annotated[int, Field(gt=-(2**53), lt=2**53)]
"""A whole number that a float holds exactly, as everything that formats it expects."""

LENIENT = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
"""How the objects of a file are read: unknown keys are left alone, no value is NaN."""

Part = TypeVar("Part", bound=BaseModel)


def read_json_model(path: Path, part: type[Part], *, again: str) -> Part:
    """Read a JSON file that a run leaves.

    Raises
    ------
    CallError
        If it is too large, no JSON, or not what a run leaves; the sentence ends
        with what to do ``again``.
    """
    if path.stat().st_size > _BIGGEST:
        raise CallError(
            f"{path} is larger than {_BIGGEST // 2**20} MiB, which no run leaves; give "
            "the folder of a run."
        )
    try:
        return part.model_validate(read_sealed(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        reason = f"{first['msg']} at {place}"
    except DamageError as error:
        reason = str(error)
    except (ValueError, RecursionError) as error:
        reason = f"it is not JSON ({error})"
    raise CallError(f"{path} is not what a run leaves: {reason}; {again}.")


class _Part(BaseModel):
    """One object of the file: unknown keys are left alone, missing ones have defaults."""

    model_config = LENIENT


NonNegative = Annotated[float, Field(ge=0)]

GridAxis = Annotated[list[NonNegative], Field(min_length=1, max_length=1000)]


class BestCell(_Part):
    """The best cell of a grid."""

    row: Annotated[int, Field(ge=0)]
    column: Annotated[int, Field(ge=0)]
    C: NonNegative
    gamma: NonNegative
    scale: NonNegative | None = None
    accuracy: NonNegative


class SeedChoice(_Part):
    """What one seed chose."""

    seed: Integer
    C: NonNegative
    gamma: NonNegative
    scale: NonNegative | None = None


@dataclass(frozen=True)
class GridCell:
    """One cell as the page shows it."""

    accuracy: str
    """Accuracy in percent; empty where it is not done."""
    minutes: str
    """Minutes, in brackets on the page."""
    shade: float
    """Place between the worst and the best cell, 0 to 1."""
    best: bool
    """Whether it is the best cell."""


class SearchTable(_Part):
    """One grid: one model under one kind of folds."""

    model: str = ""
    searched: list[str] = []
    kind: str = "random"
    settings: dict[str, Any] = {}
    samples: Integer = 0
    scored: Integer = 0
    folds: list[dict[str, Integer]] = []
    touching: Share = None
    notes: list[str] = []
    C: GridAxis
    gamma: GridAxis
    scale: list[NonNegative] | None = None
    accuracy: list[list[Share]]
    minutes: list[list[float | None]]
    best: BestCell | None = None
    choices: list[SeedChoice] = []
    serial_seconds: NonNegative = 0.0
    wall_seconds: NonNegative = 0.0
    speed_up: NonNegative | None = None

    @model_validator(mode="after")
    def _is_a_grid(self) -> "SearchTable":
        shape = (len(self.gamma), len(self.C))
        for values in (self.accuracy, self.minutes):
            if {(len(values), len(row)) for row in values} != {shape}:
                raise ValueError(f"the cells do not make up a grid of {shape}")
        if self.scale is not None and len(self.scale) != shape[0]:
            raise ValueError("there is not one scale for each gamma")
        if self.best and not (self.best.row < shape[0] and self.best.column < shape[1]):
            raise ValueError("the best cell lies outside the grid")
        return self

    @property
    def folds_text(self) -> str:
        """How the samples were folded."""
        return describe_folds(self.model_dump())

    @property
    def best_text(self) -> str:
        """The best cell."""
        return describe_best_cell(self.model_dump())

    @property
    def edge_text(self) -> str:
        """Which way to widen the grid; empty where the best cell lies inside."""
        return "".join(suggest_wider_grid(self.model_dump()))

    @property
    def choices_text(self) -> str:
        """What each seed chose; empty for one seed."""
        return "".join(describe_seed_choices(self.model_dump()))

    @property
    def speed_text(self) -> str:
        """What the cells cost one after another, and what they took."""
        return describe_speed(self.model_dump())

    @property
    def rows(self) -> Iterator[tuple[str, list[GridCell]]]:
        """The rows of the grid: a gamma and its cells."""
        known = [share for row in self.accuracy for share in row if share is not None]
        low, high = min(known, default=0.0), max(known, default=1.0)
        low = min(low, high - 0.05)
        for row, gamma in enumerate(self.gamma):
            name = format_gamma(gamma, None if self.scale is None else self.scale[row])
            yield (
                name,
                [self._shown(row, column, low, high) for column in range(len(self.C))],
            )

    def _shown(self, row: int, column: int, low: float, high: float) -> GridCell:
        share, minutes = self.accuracy[row][column], self.minutes[row][column]
        best = self.best is not None and (self.best.row, self.best.column) == (row, column)
        if share is None:
            return GridCell("", "", 0.0, best)
        text = "" if minutes is None else format_minutes(minutes)
        return GridCell(f"{100 * share:.2f}", text, (share - low) / (high - low), best)


class SearchMetrics(_Part):
    """Everything ``search.json`` says."""

    on: str = "train"
    tables: list[SearchTable] = []

    @property
    def falls(self) -> list[str]:
        """How far the accuracy falls from random to guarded folds."""
        return describe_accuracy_drop([table.model_dump() for table in self.tables])


def read_search(folder: Path) -> SearchMetrics | None:
    """Read the search of a run folder; None where there was none.

    Raises
    ------
    CallError
        If its file is not what a search leaves.
    """
    path = folder / "search.json"
    if not path.is_file():
        return None
    return read_json_model(path, SearchMetrics, again="search the experiment again")


class _MetricsPart(BaseModel):
    """One object of the file: unknown keys are left alone, missing ones have defaults."""

    model_config = LENIENT


class FeatureLeakageMetrics(_MetricsPart):
    """What image features carry from training to test pixels."""

    chain: str = ""
    mean_zone: Share = None
    sentence: str = ""


class LeakageMetrics(_MetricsPart):
    """Shares of test pixels whose windows saw training pixels, and what features carry."""

    window: Integer = 1
    centre_in_window: Share = None
    window_overlap: Share = None
    features: FeatureLeakageMetrics | None = None


class ClassScore(_MetricsPart):
    """How well one class was found; counts are means where a run has repeats."""

    code: Integer
    name: str = ""
    train_count: float | None = None
    test_count: float | None = None
    producers_accuracy: Share = None
    users_accuracy: Share = None
    f1: Share = None


class Confusion(_MetricsPart):
    """Counts of test pixels: a row a reference class, a column a predicted one."""

    codes: list[Integer] = []
    matrix: list[list[float]] = []


class DrawMetrics(_MetricsPart):
    """Headline figures of one seed, or of one fold."""

    seed: Integer | None = None
    fold: Integer | None = None
    overall_accuracy: Share = None
    average_accuracy: Share = None
    kappa: Share = None


class TrainingMetrics(_MetricsPart):
    """Where and on how much a network was trained."""

    device: str = ""
    precision: str = ""
    processes: Integer = 1
    epochs: Integer = 0
    samples: Integer = 0


class ClassInterval(_MetricsPart):
    """Intervals of one class."""

    code: Integer
    producers_accuracy: Range = None
    users_accuracy: Range = None
    f1: Range = None


class IntervalMetrics(_MetricsPart):
    """How far the figures would move had other pieces of the same land been tested."""

    level: float = 0.95
    unit: str = ""
    units: Integer = 0
    too_few: bool = False
    resamples: Integer = 0
    overall_accuracy: Range = None
    average_accuracy: Range = None
    kappa: Range = None
    per_class: list[ClassInterval] = []


class CalibrationBin(_MetricsPart):
    """Test pixels of about one confidence, and how many of them are right."""

    low: float
    high: float
    count: Integer = 0
    confidence: Share = None
    accuracy: Share = None


class SelectiveAccuracy(_MetricsPart):
    """Accuracy of the surest pixels alone."""

    kept: float
    accuracy: Share = None


class CalibrationMetrics(_MetricsPart):
    """How far the confidence of a model means what it says."""

    temperature: float | None = None
    fitted_on: Integer = 0
    by: str | None = None
    error: Share = None
    error_before: Share = None
    bins: list[CalibrationBin] = []
    abstention: list[SelectiveAccuracy] = []


class ModelMetrics(_MetricsPart):
    """One model under one split."""

    description: str = ""
    overall_accuracy: Share = None
    average_accuracy: Share = None
    kappa: Share = None
    per_class: list[ClassScore] = []
    confusion: Confusion = Confusion()
    leakage: LeakageMetrics = LeakageMetrics()
    validation_accuracy: Share = None
    train_seconds: float | None = None
    predict_seconds: float | None = None
    search_seconds: float | None = None
    training: TrainingMetrics | None = None
    search: SearchTable | None = None
    repeats: list[DrawMetrics] = []
    folds: Integer = 1
    spread: dict[str, Share] | None = None
    interval: IntervalMetrics | None = None
    calibration: CalibrationMetrics | None = None


class PartCount(_MetricsPart):
    """Pixels of one part of a split."""

    count: float = 0
    per_class: dict[int, float] = {}


class UnscoredClass(_MetricsPart):
    """A class no accuracy can be given for."""

    code: Integer
    name: str = ""
    reason: str = ""


class SplitMetrics(_MetricsPart):
    """How the labelled pixels were divided."""

    kind: str = "given"
    settings: dict[str, Any] = {}
    window: Integer | None = None
    train: PartCount = PartCount()
    validation: PartCount = PartCount()
    test: PartCount = PartCount()
    guard: PartCount = PartCount()
    unscored: list[UnscoredClass] = []
    leakage: dict[str, LeakageMetrics] = {}
    notes: list[str] = []

    @property
    def neighbours(self) -> float | None:
        """Share of test pixels that touch a training pixel, corners included."""
        return self.leakage.get("3", LeakageMetrics()).centre_in_window


class SceneMetrics(_MetricsPart):
    """What the run worked on."""

    name: str = "scene"
    source: str = ""
    rows: Integer | None = None
    cols: Integer | None = None
    bands: Integer | None = None
    simulated: bool = False
    stand_in: bool = False
    wavelengths: tuple[float, float] | None = None
    crs: str | None = None
    notes: list[str] = []
    losses: list[str] = []


class LegendRow(_MetricsPart):
    """One class: its colour goes into styles, so nothing but a colour may stand there."""

    code: Integer
    name: str = ""
    color: str = Field(default="#999999", pattern="^#[0-9a-fA-F]{6}$")


class SplitResults(_MetricsPart):
    """The same models under another split."""

    split: SplitMetrics = SplitMetrics()
    models: dict[str, ModelMetrics] = {}


class LeakGapRow(_MetricsPart):
    """One model under one split, and how far it fell from the split that flatters it."""

    model: str = ""
    split: str = ""
    centre_in_window: Share = None
    window_overlap: Share = None
    overall_accuracy: Share = None
    spread: Share = None
    fall: Share = None


class LeakGap(_MetricsPart):
    """The same models under splits that leak less and less."""

    rows: list[LeakGapRow] = []


class LearningCurveRow(_MetricsPart):
    """One model trained on one share of the training pixels."""

    model: str = ""
    train: float | None = None
    overall_accuracy: Share = None
    spread: Share = None
    interval: Range = None


class LearningCurve(_MetricsPart):
    """Accuracy against the share of pixels that train."""

    rows: list[LearningCurveRow] = []


class MissingClass(_MetricsPart):
    """A class that no pixel taught the models that map."""

    code: Integer
    name: str = ""


class MapTraining(_MetricsPart):
    """Which pixels the models that map were trained on."""

    source: Literal["all", "split"] = Field(default="split", alias="from")
    again: bool = True
    pixels: Integer = 0
    per_class: dict[int, Integer] = {}
    missing: list[MissingClass] = []


class RunMetrics(_MetricsPart):
    """Everything ``metrics.json`` says."""

    name: str = "run"
    seed: Integer | None = None
    created: str = ""
    versions: dict[str, str | None] = {}
    scene: SceneMetrics = SceneMetrics()
    legend: list[LegendRow] = []
    split: SplitMetrics = SplitMetrics()
    models: dict[str, ModelMetrics] = {}
    best: str | None = None
    notes: list[str] = []
    beside: dict[str, SplitResults] = {}
    learning_curve: dict[str, SplitResults] = {}
    gap: LeakGap | None = None
    curve: LearningCurve | None = None
    map: MapTraining | None = None


def read_run_metrics(folder: Path) -> RunMetrics:
    """Read the metrics of a run folder.

    Raises
    ------
    CallError
        If there are none, or they are not what a run leaves.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise CallError(
            f"{folder} holds no metrics.json, so there is nothing to report; give the "
            "folder of a run, and run it to its end first."
        )
    record = read_json_model(path, RunMetrics, again="run the experiment again")
    if record.model_fields_set.isdisjoint(("name", "models", "split")):
        raise CallError(
            f"{path} tells of no run, no model and no split, so it is not what a run leaves; "
            "run the experiment again."
        )
    return record
