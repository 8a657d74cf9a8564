"""The typed models of ``metrics.json`` and ``search.json``: written by runs, read by reports."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from hypercover.errors import CallError, first_fault
from hypercover.evaluation.result_plots import format_result, plot_grid
from hypercover.files import DamageError, read_checksummed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MAX_BYTES = 64 * 2**20


def _keep_integer(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Validate a number without turning a count of 3 into 3.0."""
    checked = validate(value)
    return value if type(value) is int else checked


Integer = Annotated[int, Field(gt=-(2**53), lt=2**53)]
"""An integer that a float represents exactly."""
_AS_IT_IS = PlainSerializer(lambda value: value, return_type=Any)
Number = Annotated[float, WrapValidator(_keep_integer), _AS_IT_IS]
"""A finite number; integers stay integers."""
NonNegative = Annotated[float, Field(ge=0), WrapValidator(_keep_integer), _AS_IT_IS]
"""A finite number of at least 0."""
Share = float | None
"""A share from 0 to 1; None where it is undefined."""
Range = tuple[float, float] | None
"""Lower and upper end; None where they are unknown."""


class ResultModel(BaseModel):
    """One object of a result file.

    Reading is lenient: unknown keys are ignored and missing ones take defaults, so files
    of other versions still open.  Values are checked, and NaN and infinity are refused.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    def to_json(self) -> dict[str, Any]:
        """Return the object as plain values, with the keys that were set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


Model = TypeVar("Model", bound=ResultModel)


def read_result_file(path: Path, model: type[Model], *, remedy: str) -> Model:
    """Read and check a JSON file that a run wrote.

    Raises
    ------
    CallError
        If the file is too large, is not JSON, was changed, or does not fit the model;
        the message ends with the ``remedy``.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise CallError(
            f"{path} has over {_MAX_BYTES // 2**20} MiB, which no run writes; give the "
            "folder of a run."
        )
    try:
        return model.model_validate(read_checksummed(path.read_bytes()))
    except ValidationError as error:
        reason = first_fault(error)
    except DamageError as error:
        reason = str(error)
    except (ValueError, RecursionError) as error:
        reason = f"it is not JSON ({error})"
    raise CallError(f"{path} is not a valid result file: {reason}; {remedy}.")


GridAxis = Annotated[list[NonNegative], Field(min_length=1, max_length=1000)]


class BestCell(ResultModel):
    """The best cell of a grid."""

    row: Annotated[int, Field(ge=0)]
    column: Annotated[int, Field(ge=0)]
    C: NonNegative
    gamma: NonNegative
    scale: NonNegative | None = None
    """Multiple of scikit-learn's ``gamma="scale"``, where gamma was given as one."""
    accuracy: NonNegative
    minutes: NonNegative | None = None


class SeedChoice(ResultModel):
    """The parameters that one seed chose."""

    seed: Integer
    C: NonNegative
    gamma: NonNegative
    scale: NonNegative | None = None


class SearchTable(ResultModel):
    """One grid: one model under one kind of folds, gamma down and C across."""

    model: str = ""
    searched: list[str] = []
    kind: str = "random"
    settings: dict[str, Any] = {}
    samples: Integer = 0
    scored: Integer = 0
    folds: list[dict[str, Integer]] = []
    touching: Share = None
    """Share of the scored samples that touch a training sample."""
    notes: list[str] = []
    C: GridAxis
    gamma: GridAxis
    scale: list[NonNegative] | None = None
    accuracy: list[list[Share]]
    spread: list[list[Share]] = []
    """Standard deviation of the accuracies of the folds."""
    minutes: list[list[float | None]]
    best: BestCell | None = None
    choices: list[SeedChoice] = []
    serial_seconds: NonNegative = 0.0
    wall_seconds: NonNegative = 0.0
    speed_up: NonNegative | None = None

    @model_validator(mode="after")
    def _check_grid(self) -> "SearchTable":
        shape = (len(self.gamma), len(self.C))
        for values in (self.accuracy, self.minutes):
            if {(len(values), len(row)) for row in values} != {shape}:
                raise ValueError(f"the cells do not form a grid of {shape}")
        if self.scale is not None and len(self.scale) != shape[0]:
            raise ValueError("there must be one scale for each gamma")
        if self.best and not (self.best.row < shape[0] and self.best.column < shape[1]):
            raise ValueError("the best cell is outside the grid")
        return self


class SearchResult(dict[str, Any]):
    """The content of ``search.json``, as `run_search` returns it.

    A dictionary that prints itself, turns into a table, and plots its grids.

    Examples
    --------
    >>> best = {"C": 10.0, "gamma": 0.5, "accuracy": 0.9}
    >>> grid = {"model": "svm", "kind": "blocks", "C": [1.0, 10.0], "gamma": [0.5]}
    >>> values = {"accuracy": [[0.8, 0.9]], "minutes": [[0.1, 0.2]], "best": best}
    >>> SearchResult(tables=[grid | values])
    Best C and gamma of each grid
    model  folds  C  gamma  accuracy
      svm blocks 10    0.5       0.9
    """

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row for each cell of each grid."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "model": table["model"],
                    "folds": table["kind"],
                    "C": cost,
                    "gamma": gamma,
                    "accuracy": table["accuracy"][row][column],
                    "minutes": table["minutes"][row][column],
                }
                for table in self["tables"]
                for row, gamma in enumerate(table["gamma"])
                for column, cost in enumerate(table["C"])
            ]
        )

    def plot(self, table: int = 0, ax: "Axes | None" = None) -> "Axes":
        """Draw the accuracies of one grid with matplotlib and return the axes."""
        grid = self["tables"][table]
        shares = np.array(grid["accuracy"], dtype=np.float64)
        texts = [["" if np.isnan(x) else f"{100 * x:.1f}" for x in row] for row in shares]
        gammas, costs = ([f"{value:g}" for value in grid[name]] for name in ("gamma", "C"))
        axes = plot_grid(shares, gammas, costs, texts, ax)
        axes.set(xlabel="C", ylabel="gamma")
        axes.set_title(f"{grid['model']}: accuracy in %, {grid['kind']} folds")
        return axes

    def __repr__(self) -> str:
        """Return the best cell of each grid as a table."""
        import pandas as pd

        best = [
            {"model": table["model"], "folds": table["kind"]}
            | {name: (table["best"] or {}).get(name) for name in ("C", "gamma", "accuracy")}
            for table in self["tables"]
        ]
        return format_result("Best C and gamma of each grid", pd.DataFrame(best))


class SearchMetrics(ResultModel):
    """Everything in ``search.json``."""

    on: str = "train"
    tables: list[SearchTable] = []


def read_search(folder: Path) -> SearchMetrics | None:
    """Read the search of a run folder; None if it has none.

    Raises
    ------
    CallError
        If its file is damaged.
    """
    path = folder / "search.json"
    if not path.is_file():
        return None
    return read_result_file(path, SearchMetrics, remedy="search the experiment again")


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


class ClassName(ResultModel):
    """Code and name of a class."""

    code: Integer
    name: str = ""


class ClassScore(ClassName):
    """Accuracy of one class; counts are means if the run has several seeds."""

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

    @property
    def seeds(self) -> int:
        """Number of seeds, each with all its folds."""
        return len(self.repeats) // max(self.folds, 1)

    def spread_of(self, measure: str) -> Share:
        """Return the standard deviation of a measure over the seeds or folds."""
        return (self.spread or {}).get(measure)


class PartCount(ResultModel):
    """Pixels of one part of a split."""

    count: Number = 0
    per_class: dict[int, Number] = {}


class UnscoredClass(ClassName):
    """A class that cannot be scored."""

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


class LegendRow(ClassName):
    """One class; the pattern keeps anything but a colour out of style sheets."""

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


class MapTraining(TrainingPixels):
    """The pixels that the mapping models were trained on."""

    source: Annotated[Literal["all", "split"], Field(alias="from")] = "split"
    again: bool = True
    missing: list[ClassName] = []
    """Classes without a training pixel."""


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

    @property
    def main_name(self) -> str:
        """Name of the main split in tables, lines and figures.

        Examples
        --------
        >>> blocks = {"split": {"kind": "blocks"}, "beside": {"random": {}}}
        >>> RunMetrics.model_validate(blocks).main_name
        'blocks'
        >>> RunMetrics.model_validate(blocks | {"beside": {"blocks": {}}}).main_name
        'blocks (main)'
        >>> RunMetrics.model_validate(blocks | {"gap": {}}).main_name
        'overlap-free'
        """
        kind = self.split.kind
        if self.gap is not None:
            return "overlap-free"
        return f"{kind} (main)" if kind in self.beside else kind

    @property
    def splits(self) -> dict[str, SplitResults]:
        """Results under each split by its name, the main one first."""
        return {self.main_name: self, **self.beside}


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
            f"No metrics.json in {folder}; give the folder of a run that has ended."
        )
    metrics = read_result_file(path, RunMetrics, remedy="run the experiment again")
    if metrics.model_fields_set.isdisjoint(("name", "models", "split")):
        raise CallError(
            f"{path} is not a valid result file: no name, models or split; run the "
            "experiment again."
        )
    return metrics
