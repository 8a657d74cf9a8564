"""A trial: one classifier trained and tested on one scene under one split."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from hypercover.evaluation.calibration import Calibration
from hypercover.evaluation.evaluate import Evaluation, evaluate
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import FeatureLeakageMetrics, ModelMetrics
from hypercover.experiment.tasks import temperature_scaling
from hypercover.experiment.window_export import windows_for
from hypercover.features.chain import Chain
from hypercover.prediction import scene_prediction
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.splits.audit import flattest_band, mean_zone_share, shared_zone_share
from hypercover.splits.split import Split
from hypercover.types import Arrays
from hypercover.windows.windows import Windows


def feature_leakage(chain: Chain, stack: Scene, split: Split) -> FeatureLeakageMetrics:
    """Measure what the features of a chain carry from training to test pixels.

    Connected filters have an unbounded reach.  For these the share of test pixels is
    measured that lie in the same flat zone as a training pixel, where they have exactly
    its value: averaged over all features, which distinguishes splits, and in the flattest
    band, which is an upper bound that large thresholds push towards 1 under any split.
    """
    leakage = FeatureLeakageMetrics(
        chain=chain.text, reach=chain.reach, shared_zone=None, mean_zone=None, band=None
    )
    if chain.reach is None:
        values = np.asarray(stack.cube.values)
        flattest = flattest_band(values)
        zones = {
            "shared_zone": shared_zone_share(split, values[flattest]),
            "mean_zone": mean_zone_share(split, values),
            "band": str(stack.cube.coords["band_name"].values[flattest]),
        }
        leakage = leakage.model_copy(update=zones)
    return _described(leakage)


def mean_feature_leakage(audits: Sequence[FeatureLeakageMetrics]) -> FeatureLeakageMetrics:
    """Average the leakage of the same features over several seeds."""
    means = {}
    for name in ("shared_zone", "mean_zone"):
        shares = [share for audit in audits if (share := getattr(audit, name)) is not None]
        means[name] = fmean(shares) if shares else None
    return _described(audits[0].model_copy(update=means))


def _described(leakage: FeatureLeakageMetrics) -> FeatureLeakageMetrics:
    """Add the sentence that tables and reports show."""
    fitted = f"The features {leakage.chain} were fitted on all pixels, without labels"
    if leakage.reach == 0:
        sentence = f"{fitted}; they have no spatial reach."
    elif leakage.shared_zone is None or leakage.mean_zone is None:
        sentence = f"{fitted}; they reach {leakage.reach} pixels around each pixel."
    else:
        sentence = (
            f"{fitted}, and have an unbounded reach: averaged over the features, "
            f"{_percent(leakage.mean_zone)} of the test pixels are in one flat zone with a "
            "training pixel and have exactly its value; in the most simplified feature "
            f"({leakage.band}) {_percent(leakage.shared_zone)} are."
        )
    return leakage.model_copy(update={"sentence": sentence})


def _percent(share: float) -> str:
    """Write a share so that it is never rounded to none or all."""
    if 0 < share < 0.0005:
        return "less than 0.1 %"
    return "more than 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


@dataclass(frozen=True, eq=False)
class Trial:
    """The result of training and testing one classifier."""

    classifier: Any
    """The classifier, now trained."""
    evaluation: Evaluation
    """Its accuracy on the test pixels, and what leaked."""
    predictions: Predictions
    """Its predictions for the test pixels."""
    calibration: Calibration | None
    """Calibration of its confidence; None if it gives no confidence."""
    validation_accuracy: float | None
    """Share of validation pixels it got right; None without such pixels."""
    predict_seconds: float
    """Wall time of predicting validation and test pixels."""
    train_seconds: float = 0.0
    """Wall time of the training, without that of a search before it."""

    def to_metrics(self) -> ModelMetrics:
        """Return the result as a part of the metrics of a run."""
        names = "validation_accuracy", "train_seconds", "predict_seconds"
        changes = {name: getattr(self, name) for name in names}
        if self.calibration is not None:
            changes["calibration"] = self.calibration
        return self.evaluation.to_metrics().model_copy(update=changes)


def run_trial(
    classifier: Any,
    scene: Scene,
    split: Split,
    *,
    window: int = 1,
    windows: Path | None = None,
) -> Trial:
    """Train a classifier on the training pixels of a split and test it on the others.

    Nothing is fitted on test pixels.

    Parameters
    ----------
    classifier : an untrained classifier with ``fit`` and ``predict``
    scene : the image and its labels
    split : which pixels train and which test
    window : side of the windows the classifier sees; 1 for spectra
    windows : a window file to train from; map and test take the scene

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from hypercover.scene.simulation.simulate import SimulationSettings
    >>> from hypercover.scene.simulation.simulate import simulated_scene
    >>> from hypercover.splits.random_split import RandomSplit
    >>> scene = simulated_scene(SimulationSettings(rows=32, cols=32, bands=8, classes=3))
    >>> split = RandomSplit(train=0.2).split(scene.usable_labels, seed=0)
    >>> trial = run_trial(GaussianNB(), scene, split)
    >>> 0.5 < trial.evaluation.overall_accuracy <= 1
    True
    """
    seconds = fit_classifier(classifier, scene, split, window=window, windows=windows)
    trial = evaluate_classifier(classifier, scene, split, window=window)
    return replace(trial, train_seconds=seconds)


def fit_classifier(
    classifier: Any,
    scene: Scene,
    split: Split,
    *,
    window: int = 1,
    windows: Path | None = None,
    checkpoint: Path | None = None,
) -> float:
    """Train a classifier on the training pixels of a split alone; return the seconds.

    A network also receives the validation pixels, which are never trained on: they
    give its validation curves and may stop it early.  Those of a class without
    training pixels are left out.

    Parameters
    ----------
    windows : path, optional
        Window file that holds the windows of all these pixels.
    checkpoint : path, optional
        Folder of the checkpoints from which an interrupted network resumes.
    """
    scene.check_range()
    labels = scene.usable_labels
    train, validation = split.samples("train", labels), Samples.of(np.zeros_like(labels))
    extra: dict[str, Any] = {}
    if temperature_scaling.is_network(classifier):
        validation = split.samples("validation", labels)
        validation = validation.take(np.isin(validation.labels, train.labels))
        extra["checkpoint"] = checkpoint
    # Both out of one stack, which holds the padded scene once.
    both = _joined(train, validation)
    if windows is None:
        X = _classifier_input(scene, both, window)
    else:
        X = windows_for(windows, scene, both, window)
    if len(validation):
        extra["validation"] = X[len(train) :], validation.labels
    began = time.perf_counter()
    classifier.fit(X[: len(train)], train.labels, **extra)
    return time.perf_counter() - began


def _joined(first: Samples, second: Samples) -> Samples:
    """Return the samples of both, in this order."""
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Samples(*(np.concatenate(pair) for pair in pairs))


def evaluate_classifier(
    classifier: Any, scene: Scene, split: Split, *, window: int = 1
) -> Trial:
    """Test a trained classifier on the test pixels of a split, and audit the split.

    Its probabilities are scaled by a temperature that is fitted on training pixels that
    were held out in turn or, of a network, on the validation pixels.
    """
    labels = scene.usable_labels
    validation, test = (split.samples(part, labels) for part in ("validation", "test"))
    began = time.perf_counter()
    both = predict_samples(classifier, scene, _joined(validation, test), window)
    seconds = time.perf_counter() - began
    count = len(validation)
    first, second = (
        {name: values[..., part] for name, values in both.items()}
        for part in (slice(count), slice(count, None))
    )
    guard = temperature_scaling.guard_distance(split, labels)
    folds = (
        temperature_scaling.out_of_fold_for_split(classifier, scene, split, guard)
        if window == 1
        else None
    )
    predicted, calibration = temperature_scaling.calibrate(
        classifier, (validation, first), (test, second), folds=folds
    )
    confidence, shape = predicted.get("confidence"), scene.shape
    tested = Predictions.of(test, predicted["labels"], shape=shape, confidence=confidence)
    evaluation = evaluate(
        tested.predicted, labels=labels, split=split, legend=scene.legend, window=window
    )
    right = first["labels"] == validation.labels
    accuracy = float(np.mean(right)) if count else None
    return Trial(classifier, evaluation, tested, calibration, accuracy, seconds)


def _classifier_input(scene: Scene, samples: Samples, window: int) -> Any:
    """Return what a classifier sees of some pixels: windows, or spectra for one pixel."""
    return spectra_of(scene, samples) if window == 1 else Windows.of(scene, samples, window)


def predict_samples(classifier: Any, scene: Scene, at: Samples, window: int) -> Arrays:
    """Predict some samples: class codes and, if the classifier gives them, their scores.

    A network sees the scene in tiles: that is far faster than window by window,
    gives the same answers, and makes the accuracy that of the map itself.
    """
    layers = ["labels"]
    layers += ["confidence"] if scene_prediction.has_confidence(classifier) else []
    layers += ["probabilities"] if scene_prediction.has_scores(classifier) else []
    if temperature_scaling.is_network(classifier):
        return scene_prediction.predict_pixels(
            classifier, scene, (at.rows, at.cols), layers
        )
    if not len(at):
        return {"labels": np.empty(0)}
    spectra = _classifier_input(scene, at, window)
    predicted = scene_prediction.predict_spectra(classifier, spectra, set(layers))
    return {name: predicted[name] for name in layers}
