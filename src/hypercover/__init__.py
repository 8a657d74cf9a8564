"""Land-cover maps from hyperspectral images, with an accuracy that can be believed.

Every public name is imported when it is first used, so that ``import
hypercover`` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypercover.classifiers.bundle import load_bundle as load_bundle
    from hypercover.classifiers.bundle import save_bundle as save_bundle
    from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier as CNNClassifier
    from hypercover.classifiers.svm.grid_search import (
        KernelGridSearch as KernelGridSearch,
    )
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier as SVMClassifier
    from hypercover.errors import HypercoverError as HypercoverError
    from hypercover.evaluation.area import estimate_area as estimate_area
    from hypercover.evaluation.calibration import Calibration as Calibration
    from hypercover.evaluation.calibration import abstention_curve as abstention_curve
    from hypercover.evaluation.calibration import calibration_error as calibration_error
    from hypercover.evaluation.calibration import fit_temperature as fit_temperature
    from hypercover.evaluation.calibration import reliability_bins as reliability_bins
    from hypercover.evaluation.calibration import tempered as tempered
    from hypercover.evaluation.comparison import compare_models as compare_models
    from hypercover.evaluation.evaluate import Evaluation as Evaluation
    from hypercover.evaluation.evaluate import evaluate as evaluate
    from hypercover.evaluation.intervals import accuracy_intervals as accuracy_intervals
    from hypercover.evaluation.predictions import Predictions as Predictions
    from hypercover.evaluation.sampling_units import BlockUnits as BlockUnits
    from hypercover.evaluation.sampling_units import FieldUnits as FieldUnits
    from hypercover.experiment.config.experiment_file import (
        load_experiment as load_experiment,
    )
    from hypercover.experiment.config.presets import named_scene as named_scene
    from hypercover.experiment.results.leak_gap import leak_gap as leak_gap
    from hypercover.experiment.results.run_comparison import compare_runs as compare_runs
    from hypercover.experiment.run import run_experiment as run_experiment
    from hypercover.experiment.search.search import run_search as run_search
    from hypercover.experiment.tasks.trial import run_trial as run_trial
    from hypercover.experiment.window_export import write_windows as write_windows
    from hypercover.features.chain import Chain as Chain
    from hypercover.features.kpca import KPCA as KPCA
    from hypercover.features.mnf import MNF as MNF
    from hypercover.features.nwfe import NWFE as NWFE
    from hypercover.features.pca import PCA as PCA
    from hypercover.features.profiles import Profiles as Profiles
    from hypercover.gis.class_map_files import write_class_map as write_class_map
    from hypercover.jobs.dask_executor import DaskExecutor as DaskExecutor
    from hypercover.jobs.executor import InProcessExecutor as InProcessExecutor
    from hypercover.jobs.local import LocalExecutor as LocalExecutor
    from hypercover.libsvm.data import read_libsvm as read_libsvm
    from hypercover.libsvm.data import write_libsvm as write_libsvm
    from hypercover.prediction.bundle_prediction import predict_bundle as predict_bundle
    from hypercover.prediction.predict import predict_scene as predict_scene
    from hypercover.scene.bands import select_bands as select_bands
    from hypercover.scene.class_map import open_class_map as open_class_map
    from hypercover.scene.clip import clip as clip
    from hypercover.scene.datasets.catalog import known_scene as known_scene
    from hypercover.scene.datasets.catalog import known_scenes as known_scenes
    from hypercover.scene.datasets.fetch import fetch_scene as fetch_scene
    from hypercover.scene.io.reading import open_scene as open_scene
    from hypercover.scene.io.writing import write_scene as write_scene
    from hypercover.scene.labels import drop_classes as drop_classes
    from hypercover.scene.legend import Legend as Legend
    from hypercover.scene.pansharpen.fusion import pansharpen as pansharpen
    from hypercover.scene.pansharpen.quality import wald_quality as wald_quality
    from hypercover.scene.samples import Samples as Samples
    from hypercover.scene.scene import Scene as Scene
    from hypercover.scene.simulation.simulate import simulate as simulate
    from hypercover.splits.audit import audit as audit
    from hypercover.splits.blocks import BlockSplit as BlockSplit
    from hypercover.splits.clusters import ClusterSplit as ClusterSplit
    from hypercover.splits.cross_validation import as_cv as as_cv
    from hypercover.splits.fields import FieldSplit as FieldSplit
    from hypercover.splits.folds import BlockFolds as BlockFolds
    from hypercover.splits.folds import ClusterFolds as ClusterFolds
    from hypercover.splits.folds import RandomFolds as RandomFolds
    from hypercover.splits.kfold import KFoldSplit as KFoldSplit
    from hypercover.splits.leave_one_out import LeaveOneOutSplit as LeaveOneOutSplit
    from hypercover.splits.masks import MaskSplit as MaskSplit
    from hypercover.splits.masks import SavedSplit as SavedSplit
    from hypercover.splits.published import PublishedSplit as PublishedSplit
    from hypercover.splits.random_split import RandomSplit as RandomSplit
    from hypercover.splits.split import Split as Split
    from hypercover.windows.window_file import WindowFile as WindowFile
    from hypercover.windows.windows import Windows as Windows

_HOMES = {
    "BlockFolds": "samples.folds",
    "BlockSplit": "samples.blocks",
    "BlockUnits": "evaluation.units",
    "CNNClassifier": "classifiers.cnn",
    "Calibration": "evaluation.calibration",
    "Chain": "features.chain",
    "ClusterFolds": "samples.folds",
    "ClusterSplit": "samples.clusters",
    "DaskExecutor": "jobs.dask",
    "Evaluation": "evaluation.evaluate",
    "FieldSplit": "samples.fields",
    "FieldUnits": "evaluation.units",
    "HypercoverError": "errors",
    "InProcessExecutor": "jobs.inprocess",
    "KFoldSplit": "samples.kfold",
    "KPCA": "features.kpca",
    "KernelGridSearch": "search.grid",
    "LeaveOneOutSplit": "samples.leave_one_out",
    "Legend": "scene.legend",
    "LocalExecutor": "jobs.local",
    "MNF": "features.mnf",
    "MaskSplit": "samples.masks",
    "NWFE": "features.nwfe",
    "PCA": "features.pca",
    "Predictions": "evaluation.predictions",
    "Profiles": "features.profiles",
    "PublishedSplit": "samples.published",
    "RandomFolds": "samples.folds",
    "RandomSplit": "samples.random",
    "SVMClassifier": "classifiers.svm",
    "Samples": "samples.samples",
    "SavedSplit": "samples.saved",
    "Scene": "scene.scene",
    "Split": "samples.split",
    "WindowFile": "samples.window_file",
    "Windows": "samples.windows",
    "abstention_curve": "evaluation.calibration",
    "accuracy_intervals": "evaluation.intervals",
    "as_cv": "samples.cross_validation",
    "audit": "samples.leakage",
    "calibration_error": "evaluation.calibration",
    "clip": "scene.clipping",
    "compare_models": "evaluation.compare",
    "compare_runs": "experiment.comparison",
    "drop_classes": "scene.classes",
    "estimate_area": "evaluation.area",
    "evaluate": "evaluation.evaluate",
    "fetch_scene": "scene.fetching",
    "fit_temperature": "evaluation.temperature",
    "known_scene": "scene.catalog",
    "known_scenes": "scene.catalog",
    "leak_gap": "experiment.gap",
    "load_bundle": "classifiers.bundle",
    "load_experiment": "experiment.reading",
    "open_class_map": "scene.classmap",
    "named_scene": "experiment.named",
    "open_scene": "scene.reading",
    "pansharpen": "scene.pansharpen",
    "wald_quality": "scene.quality",
    "predict_bundle": "experiment.prediction",
    "predict_scene": "maps.predict",
    "read_libsvm": "samples.libsvm",
    "reliability_bins": "evaluation.calibration",
    "run_experiment": "experiment.run",
    "run_search": "experiment.search",
    "run_trial": "experiment.trial",
    "save_bundle": "classifiers.bundle",
    "select_bands": "scene.bands",
    "simulate": "scene.simulate",
    "tempered": "evaluation.temperature",
    "write_class_map": "maps.export",
    "write_libsvm": "samples.libsvm",
    "write_scene": "scene.writing",
    "write_windows": "experiment.windows",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list


def __getattr__(name: str) -> Any:
    """Import a public name from the file where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hypercover' has no attribute {name!r}")
    return getattr(import_module(f"hypercover.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
