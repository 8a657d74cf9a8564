"""Public names: accuracy measures, their intervals, calibration and tests."""

from hypercover.evaluation.accuracy import average_accuracy as average_accuracy
from hypercover.evaluation.accuracy import confusion_matrix as confusion_matrix
from hypercover.evaluation.accuracy import f1 as f1
from hypercover.evaluation.accuracy import kappa as kappa
from hypercover.evaluation.accuracy import overall_accuracy as overall_accuracy
from hypercover.evaluation.accuracy import producers_accuracy as producers_accuracy
from hypercover.evaluation.accuracy import users_accuracy as users_accuracy
from hypercover.evaluation.area import AreaEstimate as AreaEstimate
from hypercover.evaluation.area import estimate_area as estimate_area
from hypercover.evaluation.calibration import Calibration as Calibration
from hypercover.evaluation.calibration import abstention_curve as abstention_curve
from hypercover.evaluation.calibration import apply_temperature as apply_temperature
from hypercover.evaluation.calibration import calibration_error as calibration_error
from hypercover.evaluation.calibration import fit_temperature as fit_temperature
from hypercover.evaluation.calibration import reliability_bins as reliability_bins
from hypercover.evaluation.comparison import Comparison as Comparison
from hypercover.evaluation.comparison import compare_models as compare_models
from hypercover.evaluation.evaluate import Evaluation as Evaluation
from hypercover.evaluation.evaluate import evaluate as evaluate
from hypercover.evaluation.intervals import BlockUnits as BlockUnits
from hypercover.evaluation.intervals import FieldUnits as FieldUnits
from hypercover.evaluation.intervals import accuracy_intervals as accuracy_intervals
from hypercover.evaluation.predictions import Predictions as Predictions
from hypercover.evaluation.run_metrics import SearchResult as SearchResult
from hypercover.scene.pansharpen.fusion import wald_quality as wald_quality

__all__ = [name for name in globals() if not name.startswith("_")]
