"""A trial: one classifier trained and tested on one scene under one split."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy.ndimage import label

from hypercover.evaluation.calibration import (
    Calibration,
    calibration_error,
    fit_confidence_temperature,
    fit_temperature,
)
from hypercover.evaluation.evaluate import Evaluation, evaluate
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import FeatureLeakageMetrics, ModelMetrics
from hypercover.experiment.window_export import windows_for
from hypercover.features.chain import Chain
from hypercover.prediction import scene_prediction
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.splits.audit import flattest_band, mean_zone_share, shared_zone_share
from hypercover.splits.folds import assign_folds
from hypercover.splits.split import Split, within_distance
from hypercover.types import Array, Arrays, Codes, Indices, Ints, Mask
from hypercover.windows.windows import Windows

MIN_PATCHES = 30
"""Fewest separate patches of held-out pixels for a temperature to be used."""

_FOLDS = 5

_SIDES = 8, 64
"""Least and greatest side of the blocks that are held out of training, in pixels."""

_MOST = 20_000
"""Most training pixels that the folds are made of."""


PredictedSamples = tuple[Samples, Arrays]
"""Samples and their predictions: layers (…, pixel)."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out pixels and their predicted probabilities."""

    labels: Ints
    """Class code of each pixel (n,)."""
    probabilities: Array
    """Probability of each class (n, class)."""
    patches: int
    """Separate patches or blocks of these pixels, or pixels held out one by one."""
    by: str
    """``validation``: pixels of the split; ``folds``: training pixels held out in turn."""

    def temperature(self, classes: Array) -> float:
        """Fit the temperature on the pixels.

        For networks by the likelihood of all classes, which they are trained on; for other
        classifiers by the confidence alone.
        """
        if self.by == "validation":
            return fit_temperature(self.probabilities, self.labels, classes)
        return fit_confidence_temperature(
            self.probabilities, self.labels, classes, units=self.patches
        )


def calibrate(
    classifier: Any,
    validation: PredictedSamples,
    test: PredictedSamples,
    *,
    folds: HeldOut | None = None,
) -> tuple[Arrays, Calibration | None]:
    """Scale the predictions for test pixels by a temperature fitted on held-out pixels.

    A confidence in a map should be the probability that the map is right.  Test pixels
    only measure the result.

    Pixels of one patch of land are right or wrong together.  A temperature fitted on few
    patches is therefore reported but not used: under guarded blocks it does as much harm
    as good.  The scores of an SVM without ``probability`` are not probabilities before
    scaling, so any temperature of ``folds`` is used for these.

    Parameters
    ----------
    classifier : trained
    validation, test : pixels of the split, and its predictions
    folds : HeldOut, optional
        What `out_of_fold` returned; it takes precedence over the validation pixels.

    Returns
    -------
    predictions
        Those for the test pixels.  They stay as they are if the model gives no
        probabilities, or no held-out pixel is of a class that it was trained on, or
        these lie in fewer than ``MIN_PATCHES`` patches.
    Calibration or None
        None if the model gives no confidence.
    """
    pixels, predicted = test
    right = predicted["labels"] == pixels.labels
    confidence = predicted.get("confidence")
    if confidence is None or not len(confidence) or not np.isfinite(confidence).all():
        return predicted, None
    held = folds
    if held is None and _is_calibrated(classifier):
        held = _usable(classifier, validation)
    if held is None or "probabilities" not in predicted:
        return predicted, Calibration.of(confidence, right)
    proposed = held.temperature(classifier.classes_)
    scaled = scene_prediction.scale_probabilities(predicted, classifier.classes_, proposed)
    facts: dict[str, Any] = {
        "proposed": proposed,
        "error_proposed": calibration_error(scaled["confidence"], right),
        "fitted_on": len(held.labels),
        "patches": held.patches,
        "by": held.by,
    }
    if not _is_enough(classifier, held):
        return predicted, Calibration.of(confidence, right, **facts)
    facts |= {"temperature": proposed, "error_before": calibration_error(confidence, right)}
    return scaled, Calibration.of(scaled["confidence"], right, **facts)


def fit_held_out_temperature(classifier: Any, held: HeldOut | None) -> float | None:
    """Return the temperature for a trained classifier; None where the pixels are too few."""
    if held is None or not _is_enough(classifier, held):
        return None
    return held.temperature(classifier.classes_)


def out_of_fold(
    classifier: Any, train: Samples, spectra: Any, *, guard: int | None = 0
) -> HeldOut | None:
    """Predict the training pixels out of fold.

    They are held out in the way the test pixels are.  If these are scattered between
    training pixels, single pixels are dealt to five folds.  Otherwise whole blocks are,
    and pixels within the guard around them do not train either, as neighbours of training
    pixels are too easy.  The blocks are squares about as large as the training patches but
    not aligned with them: leaving out whole patches would remove classes with few patches
    and bias the temperature.

    Parameters
    ----------
    classifier : trained; clones of it are fitted, each on four fifths of the pixels
    train : training pixels
    spectra : array (n, band)
        What the classifier sees of them.
    guard : int, optional
        Pixels between training and test (Chebyshev); None holds out single pixels.

    Returns
    -------
    HeldOut or None
        None for a network, a classifier without class shares or parameters, with fewer
        blocks or pixels than folds, and where no pixel of a class is left that it could
        be trained on.
    """
    from sklearn.base import clone

    if _is_network(classifier) or not hasattr(classifier, "get_params"):
        return None
    if not hasattr(classifier, "predict_proba") or len(train) < 2:
        return None
    every = np.arange(0, len(train), -(-len(train) // _MOST))
    train, spectra = train.take(every), spectra[every]
    folds, units = _folds_of(train, guard)
    if units < _FOLDS:
        return None
    probabilities = np.zeros((len(train), len(classifier.classes_)))
    predicted = np.zeros(len(train), dtype=bool)
    for fold in np.unique(folds):
        held = folds == fold
        around = within_distance(_mask_of(train, held), guard or 0)
        kept = ~held & ~around[train.rows, train.cols]
        codes = np.unique(train.labels[kept])
        if len(codes) < 2:
            continue
        # As many trees, neighbours or machines: only the pixels are fewer.
        fitted = clone(classifier).fit(spectra[kept], train.labels[kept])
        columns = np.searchsorted(classifier.classes_, fitted.classes_)
        probabilities[np.ix_(held, columns)] = fitted.predict_proba(spectra[held])
        predicted |= held & np.isin(train.labels, codes)
    usable = predicted & np.isfinite(probabilities).all(axis=1)
    if not usable.any():
        return None
    return HeldOut(train.labels[usable], probabilities[usable], units, "folds")


def _folds_of(train: Samples, guard: int | None) -> tuple[Indices, int]:
    """Return the fold (n,) of each pixel, and the number of blocks or pixels dealt to them."""
    if guard is None:
        units = np.arange(len(train))
    else:
        patches = _patches_of(train)
        sizes = np.bincount(patches)
        # Of the patch in which the median pixel lies.
        side = int(np.clip(round(np.median(sizes[patches]) ** 0.5), *_SIDES))
        cells = np.stack([train.rows // side, train.cols // side], axis=1)
        units = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    count = int(units.max()) + 1
    rng = np.random.default_rng(0)
    return assign_folds(train.labels, units, min(_FOLDS, count), rng), count


def _mask_of(pixels: Samples, which: Any = slice(None)) -> Mask:
    """Return a mask (y, x) that covers the pixels and holds some of them."""
    mask = np.zeros((pixels.rows.max() + 1, pixels.cols.max() + 1), dtype=bool)
    mask[pixels.rows[which], pixels.cols[which]] = True
    return mask


def _patches_of(pixels: Samples) -> Indices:
    """Return the number (n,) of each pixel's patch: pixels that touch, if only at a corner."""
    patches, _ = label(_mask_of(pixels), np.ones((3, 3)))
    return np.asarray(patches[pixels.rows, pixels.cols] - 1)


def _is_calibrated(classifier: Any) -> bool:
    """Tell whether its scores are probabilities; those of a plain SVM only rank classes."""
    return bool(getattr(classifier, "probability", True))


def _is_enough(classifier: Any, held: HeldOut) -> bool:
    """Tell whether there are enough patches to use a temperature."""
    return held.patches >= MIN_PATCHES or not _is_calibrated(classifier)


def _usable(classifier: Any, validation: PredictedSamples) -> HeldOut | None:
    """Return the validation pixels of trained classes and their probabilities, if any."""
    pixels, predicted = validation
    probabilities = predicted.get("probabilities")
    if probabilities is None or not np.isfinite(probabilities).all():
        return None
    trained = np.isin(pixels.labels, classifier.classes_)
    if not trained.any():
        return None
    pixels = pixels.take(trained)
    patches = int(_patches_of(pixels).max()) + 1
    return HeldOut(pixels.labels, probabilities[:, trained].T, patches, "validation")


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
    if _is_network(classifier):
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
    guard = guard_distance(split, labels)
    folds = out_of_fold_for_split(classifier, scene, split, guard) if window == 1 else None
    predicted, calibration = calibrate(
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


def guard_distance(split: Split, labels: Codes) -> int | None:
    """Return the guard between training and test pixels; None if most of these touch."""
    settings = split.settings
    if isinstance(guard := settings.get("guard"), int):
        return guard
    test = split.samples("test", labels)
    beside = within_distance(split.mask("train") & (labels > 0), 1)[test.rows, test.cols]
    drawn = "random" in (split.kind, settings.get("kind"))
    return None if drawn or 2 * np.count_nonzero(beside) > len(test) else 0


def out_of_fold_for_split(
    classifier: Any, scene: Scene, split: Split, guard: int | None
) -> HeldOut | None:
    """Predict the training pixels of a split out of fold, as `out_of_fold` does."""
    train = split.samples("train", scene.usable_labels)
    return out_of_fold(classifier, train, spectra_of(scene, train), guard=guard)


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
    if _is_network(classifier):
        return scene_prediction.predict_pixels(
            classifier, scene, (at.rows, at.cols), layers
        )
    if not len(at):
        return {"labels": np.empty(0)}
    spectra = _classifier_input(scene, at, window)
    predicted = scene_prediction.predict_spectra(classifier, spectra, set(layers))
    return {name: predicted[name] for name in layers}


def _is_network(classifier: Any) -> bool:
    """Tell whether a classifier is a network, which has checkpoints and sees whole tiles."""
    return hasattr(classifier, "predict_dense")
