"""The typed model of ``metrics.json``: written by a run, read by reports and comparisons."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hypercover.errors import CallError
from hypercover.evaluation.result_files import (
    Integer,
    Number,
    Range,
    ResultModel,
    Share,
    read_result_file,
)
from hypercover.evaluation.search_metrics import SearchTable


class FeatureLeakageMetrics(ResultModel):
    """What image features carry from training to test pixels."""

    chain: str = ""
    reach: Integer | None = None
    """Pixels that the features reach around each pixel; None if unbounded."""
    shared_zone: Share = None
    """Share of test pixels in a flat zone with a training pixel, in the flattest band."""
    mean_zone: Share = None
    """The same share, averaged over the features."""
    band: str | None = None
    sentence: str = ""


class LeakageMetrics(ResultModel):
    """Shares of test pixels whose windows contain or overlap training pixels."""

    window: Integer = 1
    centre_in_window: Share = None
    window_overlap: Share = None
    features: FeatureLeakageMetrics | None = None


class ClassScore(ResultModel):
    """Accuracy of one class; counts are means if the run has several seeds."""

    code: Integer
    name: str = ""
    train_count: Number | None = None
    test_count: Number | None = None
    producers_accuracy: Share = None
    users_accuracy: Share = None
    f1: Share = None


class Confusion(ResultModel):
    """Counts of test pixels; rows are reference classes, columns predicted ones."""

    codes: list[Integer] = []
    matrix: list[list[Number]] = []


class DrawMetrics(ResultModel):
    """Accuracy of one seed or one fold."""

    seed: Integer | None = None
    fold: Integer | None = None
    overall_accuracy: Share = None
    average_accuracy: Share = None
    kappa: Share = None


class TrainingMetrics(ResultModel):
    """How a network was trained."""

    device: str = ""
    precision: str = ""
    processes: Integer = 1
    epochs: Integer = 0
    samples: Integer = 0


class ClassIntervals(ResultModel):
    """Intervals for the accuracies of one class."""

    code: Integer
    producers_accuracy: Range = None
    users_accuracy: Range = None
    f1: Range = None


class Intervals(ResultModel):
    """Intervals for the accuracies of a model on land like the tested land."""

    level: float = 0.95
    """Nominal coverage."""
    unit: str = ""
    """What was resampled, such as "blocks of 15 px"."""
    units: Integer = 0
    """Number of these units."""
    too_few: bool = False
    """Whether there are too few units to give any interval."""
    resamples: Integer = 0
    """Bootstrap resamples."""
    overall_accuracy: Range = None
    average_accuracy: Range = None
    kappa: Range = None
    per_class: list[ClassIntervals] = []


class CalibrationBin(ResultModel):
    """Test pixels of similar confidence, and the share of them that is right."""

    low: float
    high: float
    count: Integer = 0
    confidence: Share = None
    accuracy: Share = None


class SelectiveAccuracy(ResultModel):
    """Accuracy on the most confident pixels alone."""

    kept: float
    accuracy: Share = None


class CalibrationSummary(ResultModel):
    """Temperature and calibration errors, without the curves."""

    temperature: float | None = None
    proposed: float | None = None
    """Temperature fitted on the held-out pixels, whether used or not."""
    fitted_on: Number = 0
    patches: Number = 0
    error: Share = None
    error_before: Share = None
    error_proposed: Share = None


class SeedCalibration(CalibrationSummary):
    """Calibration of one seed."""

    seed: Integer | None = None


class CalibrationMetrics(CalibrationSummary):
    """How well the confidence of a model matches its accuracy."""

    by: str | None = None
    bins: list[CalibrationBin] = []
    abstention: list[SelectiveAccuracy] = []
    repeats: list[SeedCalibration] = []


class ModelMetrics(ResultModel):
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
    interval: Intervals | None = None
    calibration: CalibrationMetrics | None = None

    def spread_of(self, measure: str) -> Share:
        """Return the standard deviation of a measure over the seeds or folds."""
        return (self.spread or {}).get(measure)


class PartCount(ResultModel):
    """Pixels of one part of a split."""

    count: Number = 0
    per_class: dict[int, Number] = {}


class UnscoredClass(ResultModel):
    """A class that cannot be scored."""

    code: Integer
    name: str = ""
    reason: str = ""


class SplitMetrics(ResultModel):
    """How the labelled pixels were divided."""

    kind: str = "given"
    seed: Integer | None = None
    settings: dict[str, Any] = {}
    window: Integer | None = None
    train: PartCount = PartCount()
    validation: PartCount = PartCount()
    test: PartCount = PartCount()
    guard: PartCount = PartCount()
    unscored: list[UnscoredClass] = []
    leakage: dict[str, LeakageMetrics] = {}
    notes: list[str] = []
    sha256: str | None = None

    @property
    def neighbours(self) -> Share:
        """Share of test pixels that touch a training pixel, corners included."""
        return self.leakage.get("3", LeakageMetrics()).centre_in_window


class TrainingPixels(ResultModel):
    """Labelled pixels in all and of each class."""

    pixels: Integer = 0
    per_class: dict[int, Integer] = {}


class SceneMetrics(ResultModel):
    """The scene of a run."""

    labelled: TrainingPixels = TrainingPixels()
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


class LegendRow(ResultModel):
    """One class; the pattern keeps anything but a colour out of style sheets."""

    code: Integer
    name: str = ""
    color: str = Field(default="#999999", pattern="^#[0-9a-fA-F]{6}$")


class SplitResults(ResultModel):
    """A split and all models under it."""

    split: SplitMetrics = SplitMetrics()
    models: dict[str, ModelMetrics] = {}


class GapRow(ResultModel):
    """One model under one split, and how far it falls from random pixels."""

    model: str = ""
    split: str = ""
    train_count: Number | None = None
    test_count: Number | None = None
    centre_in_window: Share = None
    window_overlap: Share = None
    overall_accuracy: Share = None
    spread: Share = None
    fall: Share = None


class LeakGap(ResultModel):
    """The same models under splits that leak less and less."""

    window: Integer = 1
    rows: list[GapRow] = []


class CurvePoint(ResultModel):
    """One model trained on one share of the training pixels."""

    model: str = ""
    train: Number | None = None
    overall_accuracy: Share = None
    spread: Share = None
    interval: Range = None


class LearningCurve(ResultModel):
    """Accuracy against the share of training pixels."""

    rows: list[CurvePoint] = []


class MissingClass(ResultModel):
    """A class without a training pixel."""

    code: Integer
    name: str = ""


class MapTraining(TrainingPixels):
    """The pixels that the mapping models were trained on."""

    source: Annotated[Literal["all", "split"], Field(alias="from")] = "split"
    again: bool = True
    missing: list[MissingClass] = []


class RunMetrics(SplitResults):
    """Everything in ``metrics.json``; the main split and its models are at the top level."""

    name: str = "run"
    seed: Integer | None = None
    created: str = ""
    versions: dict[str, str | None] = {}
    scene: SceneMetrics = SceneMetrics()
    legend: list[LegendRow] = []
    best: str | None = None
    """Best model by validation accuracy."""
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
        If there are none, or their file is damaged.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise CallError(
            f"No metrics.json in {folder}; give the folder of a run, and run it to its end "
            "first."
        )
    metrics = read_result_file(path, RunMetrics, remedy="run the experiment again")
    if metrics.model_fields_set.isdisjoint(("name", "models", "split")):
        raise CallError(
            f"{path} is not a valid result file: it has no name, models or split; run the "
            "experiment again."
        )
    return metrics
