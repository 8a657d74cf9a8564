"""Public names: accuracy measures, their intervals, calibration and tests."""

from hypercover.evaluation.accuracy import (
    average_accuracy,
    confusion_matrix,
    f1,
    kappa,
    overall_accuracy,
    producers_accuracy,
    users_accuracy,
)
from hypercover.evaluation.area import AreaEstimate, estimate_area
from hypercover.evaluation.calibration import (
    Calibration,
    abstention_curve,
    calibration_error,
    fit_temperature,
    reliability_bins,
    tempered,
)
from hypercover.evaluation.comparison import Comparison, compare_models
from hypercover.evaluation.evaluate import Evaluation, evaluate
from hypercover.evaluation.intervals import BlockUnits, FieldUnits, accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import SearchResult
from hypercover.scene.pansharpen.quality import wald_quality

__all__ = [
    "AreaEstimate",
    "BlockUnits",
    "Calibration",
    "Comparison",
    "Evaluation",
    "FieldUnits",
    "Predictions",
    "SearchResult",
    "abstention_curve",
    "accuracy_intervals",
    "average_accuracy",
    "calibration_error",
    "compare_models",
    "confusion_matrix",
    "estimate_area",
    "evaluate",
    "f1",
    "fit_temperature",
    "kappa",
    "overall_accuracy",
    "producers_accuracy",
    "reliability_bins",
    "tempered",
    "users_accuracy",
    "wald_quality",
]
