"""What a run left in ``metrics.json``, read back and checked."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from hypercover.errors import CallError
from hypercover.maps.run_files import LENIENT, Range, Share, Whole, read_part
from hypercover.maps.search_record import SearchTable

__all__ = [
    "ClassScore",
    "FeatureLeakage",
    "Leakage",
    "Model",
    "Record",
    "Split",
    "Training",
    "read_record",
]


class _Part(BaseModel):
    """One object of the file: unknown keys are left alone, missing ones have defaults."""

    model_config = LENIENT


class FeatureLeakage(_Part):
    """What image features carry from training to test pixels."""

    chain: str = ""
    mean_zone: Share = None
    sentence: str = ""


class Leakage(_Part):
    """Shares of test pixels whose windows saw training pixels, and what features carry."""

    window: Whole = 1
    centre_in_window: Share = None
    window_overlap: Share = None
    features: FeatureLeakage | None = None


class ClassScore(_Part):
    """How well one class was found; counts are means where a run has repeats."""

    code: Whole
    name: str = ""
    train_count: float | None = None
    test_count: float | None = None
    producers_accuracy: Share = None
    users_accuracy: Share = None
    f1: Share = None


class Confusion(_Part):
    """Counts of test pixels: a row a reference class, a column a predicted one."""

    codes: list[Whole] = []
    matrix: list[list[float]] = []


class Repeat(_Part):
    """Headline figures of one seed, or of one fold."""

    seed: Whole | None = None
    fold: Whole | None = None
    overall_accuracy: Share = None
    average_accuracy: Share = None
    kappa: Share = None


class Training(_Part):
    """Where and on how much a network was trained."""

    device: str = ""
    precision: str = ""
    processes: Whole = 1
    epochs: Whole = 0
    samples: Whole = 0


class ClassInterval(_Part):
    """Intervals of one class."""

    code: Whole
    producers_accuracy: Range = None
    users_accuracy: Range = None
    f1: Range = None


class Interval(_Part):
    """How far the figures would move had other pieces of the same land been tested."""

    level: float = 0.95
    unit: str = ""
    units: Whole = 0
    too_few: bool = False
    resamples: Whole = 0
    overall_accuracy: Range = None
    average_accuracy: Range = None
    kappa: Range = None
    per_class: list[ClassInterval] = []


class CalibrationBin(_Part):
    """Test pixels of about one confidence, and how many of them are right."""

    low: float
    high: float
    count: Whole = 0
    confidence: Share = None
    accuracy: Share = None


class Kept(_Part):
    """Accuracy of the surest pixels alone."""

    kept: float
    accuracy: Share = None


class Calibration(_Part):
    """How far the confidence of a model means what it says."""

    temperature: float | None = None
    fitted_on: Whole = 0
    by: str | None = None
    error: Share = None
    error_before: Share = None
    bins: list[CalibrationBin] = []
    abstention: list[Kept] = []


class Model(_Part):
    """One model under one split."""

    description: str = ""
    overall_accuracy: Share = None
    average_accuracy: Share = None
    kappa: Share = None
    per_class: list[ClassScore] = []
    confusion: Confusion = Confusion()
    leakage: Leakage = Leakage()
    validation_accuracy: Share = None
    train_seconds: float | None = None
    predict_seconds: float | None = None
    search_seconds: float | None = None
    training: Training | None = None
    search: SearchTable | None = None
    repeats: list[Repeat] = []
    folds: Whole = 1
    spread: dict[str, Share] | None = None
    interval: Interval | None = None
    calibration: Calibration | None = None


class Count(_Part):
    """Pixels of one part of a split."""

    count: float = 0
    per_class: dict[int, float] = {}


class Unscored(_Part):
    """A class no accuracy can be given for."""

    code: Whole
    name: str = ""
    reason: str = ""


class Split(_Part):
    """How the labelled pixels were divided."""

    kind: str = "given"
    settings: dict[str, Any] = {}
    window: Whole | None = None
    train: Count = Count()
    validation: Count = Count()
    test: Count = Count()
    guard: Count = Count()
    unscored: list[Unscored] = []
    leakage: dict[str, Leakage] = {}
    notes: list[str] = []

    @property
    def neighbours(self) -> float | None:
        """Share of test pixels that touch a training pixel, corners included."""
        return self.leakage.get("3", Leakage()).centre_in_window


class SceneFacts(_Part):
    """What the run worked on."""

    name: str = "scene"
    source: str = ""
    rows: Whole | None = None
    cols: Whole | None = None
    bands: Whole | None = None
    simulated: bool = False
    stand_in: bool = False
    wavelengths: tuple[float, float] | None = None
    crs: str | None = None
    notes: list[str] = []
    losses: list[str] = []


class LegendRow(_Part):
    """One class: its colour goes into styles, so nothing but a colour may stand there."""

    code: Whole
    name: str = ""
    color: str = Field(default="#999999", pattern="^#[0-9a-fA-F]{6}$")


class Beside(_Part):
    """The same models under another split."""

    split: Split = Split()
    models: dict[str, Model] = {}


class GapRow(_Part):
    """One model under one split, and how far it fell from the split that flatters it."""

    model: str = ""
    split: str = ""
    centre_in_window: Share = None
    window_overlap: Share = None
    overall_accuracy: Share = None
    spread: Share = None
    fall: Share = None


class Gap(_Part):
    """The same models under splits that leak less and less."""

    rows: list[GapRow] = []


class CurveRow(_Part):
    """One model trained on one share of the training pixels."""

    model: str = ""
    train: float | None = None
    overall_accuracy: Share = None
    spread: Share = None
    interval: Range = None


class Curve(_Part):
    """Accuracy against the share of pixels that train."""

    rows: list[CurveRow] = []


class MissingClass(_Part):
    """A class that no pixel taught the models that map."""

    code: Whole
    name: str = ""


class MapFacts(_Part):
    """Which pixels the models that map were trained on."""

    source: Literal["all", "split"] = Field(default="split", alias="from")
    again: bool = True
    pixels: Whole = 0
    per_class: dict[int, Whole] = {}
    missing: list[MissingClass] = []


class Record(_Part):
    """Everything ``metrics.json`` says."""

    name: str = "run"
    seed: Whole | None = None
    created: str = ""
    versions: dict[str, str | None] = {}
    scene: SceneFacts = SceneFacts()
    legend: list[LegendRow] = []
    split: Split = Split()
    models: dict[str, Model] = {}
    best: str | None = None
    notes: list[str] = []
    beside: dict[str, Beside] = {}
    learning_curve: dict[str, Beside] = {}
    gap: Gap | None = None
    curve: Curve | None = None
    map: MapFacts | None = None


def read_record(folder: Path) -> Record:
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
    record = read_part(path, Record, again="run the experiment again")
    if record.model_fields_set.isdisjoint(("name", "models", "split")):
        raise CallError(
            f"{path} tells of no run, no model and no split, so it is not what a run leaves; "
            "run the experiment again."
        )
    return record
