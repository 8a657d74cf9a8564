"""A trial: one classifier trained and tested on one scene under one split."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from hypercover.evaluation.calibration import (
    Calibration,
    calibration_error,
    fit_confidence,
    fit_temperature,
)
from hypercover.evaluation.evaluate import Evaluation, evaluate
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import FeatureLeakageMetrics, ModelMetrics
from hypercover.experiment.window_export import windows_for
from hypercover.features.chain import Chain
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.splits.audit import flattest_band, mean_zone_share, shared_zone_share
from hypercover.splits.folds import assign_folds
from hypercover.splits.guard import within_distance
from hypercover.splits.split import Split
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
    shares: Array
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
            return fit_temperature(self.shares, self.labels, classes)
        return fit_confidence(self.shares, self.labels, classes, units=self.patches)


def calibrate(
    classifier: Any,
    validation: PredictedSamples,
    test: PredictedSamples,
    *,
    folds: HeldOut | None = None,
) -> tuple[Arrays, Calibration | None]:
    """Scale the answers for test pixels by a temperature fitted on held-out pixels.

    A confidence in a map should be the probability that the map is right.  Test pixels
    only measure the result.

    Pixels of one patch of land are right or wrong together.  A temperature fitted on few
    patches is therefore reported but not used: under guarded blocks it does as much harm
    as good.  The scores of an SVM without ``probability`` are not probabilities before
    scaling, so any temperature of ``folds`` is used for these.

    Parameters
    ----------
    classifier : trained
    validation, test : pixels of the split, and its answers
    folds : HeldOut, optional
        What `out_of_fold` returned; it goes before the validation pixels.

    Returns
    -------
    answers
        Those for the test pixels; as they were where nothing is scaled: the
        model gives no probabilities, or no held-out pixel is of a class it
        knows, or these lie in fewer than ``MIN_PATCHES`` patches.
    Calibration or None
        None where the model does not say how sure it is.
    """
    from hypercover.prediction.layers import scale_probabilities

    pixels, own = test
    right = own["labels"] == pixels.labels
    sure = own.get("confidence")
    if sure is None or not len(sure) or not np.isfinite(sure).all():
        return own, None
    held = folds
    if held is None and _is_calibrated(classifier):
        held = _usable(classifier, validation)
    if held is None or "probabilities" not in own:
        return own, Calibration.of(sure, right)
    proposed = held.temperature(classifier.classes_)
    after = scale_probabilities(own, classifier.classes_, proposed)
    about: dict[str, Any] = {
        "proposed": proposed,
        "error_proposed": calibration_error(after["confidence"], right),
        "fitted_on": len(held.labels),
        "patches": held.patches,
        "by": held.by,
    }
    if not _is_enough(classifier, held):
        return own, Calibration.of(sure, right, **about)
    used = {"temperature": proposed, "error_before": calibration_error(sure, right)}
    return after, Calibration.of(after["confidence"], right, **used, **about)


def fit_held_out_temperature(classifier: Any, held: HeldOut | None) -> float | None:
    """Return the temperature for a trained classifier; None where the pixels are too few."""
    if held is None or not _is_enough(classifier, held):
        return None
    return held.temperature(classifier.classes_)


def out_of_fold(
    classifier: Any, land: Samples, spectra: Any, *, guard: int | None = 0
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
    land : training pixels
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

    if hasattr(classifier, "predict_dense") or not hasattr(classifier, "get_params"):
        return None
    if not hasattr(classifier, "predict_proba") or len(land) < 2:
        return None
    every = np.arange(0, len(land), -(-len(land) // _MOST))
    land, spectra = land.take(every), spectra[every]
    folds, units = _folds_of(land, guard)
    if units < _FOLDS:
        return None
    shares = np.zeros((len(land), len(classifier.classes_)))
    known = np.zeros(len(land), dtype=bool)
    for fold in np.unique(folds):
        held = folds == fold
        train = ~held & ~_around(land, held, guard or 0)
        codes = np.unique(land.labels[train])
        if len(codes) < 2:
            continue
        # As many trees, neighbours or machines: only the pixels are fewer.
        fitted = clone(classifier).fit(spectra[train], land.labels[train])
        columns = np.searchsorted(classifier.classes_, fitted.classes_)
        shares[np.ix_(held, columns)] = fitted.predict_proba(spectra[held])
        known |= held & np.isin(land.labels, codes)
    usable = known & np.isfinite(shares).all(axis=1)
    if not usable.any():
        return None
    return HeldOut(land.labels[usable], shares[usable], units, "folds")


def _folds_of(land: Samples, guard: int | None) -> tuple[Indices, int]:
    """Return the fold (n,) of each pixel, and the number of blocks or pixels dealt to them."""
    if guard is None:
        units = np.arange(len(land))
    else:
        patches = _patches_of(land)
        sizes = np.bincount(patches)
        # Of the patch in which the median pixel lies.
        side = int(np.clip(round(np.median(sizes[patches]) ** 0.5), *_SIDES))
        cells = np.stack([land.rows // side, land.cols // side], axis=1)
        units = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    count = int(units.max()) + 1
    folds = assign_folds(land.labels, units, min(_FOLDS, count), np.random.default_rng(0))
    return folds, count


def _around(land: Samples, held: Mask, guard: int) -> Mask:
    """Tell which pixels (n,) lie within the guard around those that are held out."""
    mask = np.zeros((land.rows.max() + 1, land.cols.max() + 1), dtype=bool)
    mask[land.rows[held], land.cols[held]] = True
    return within_distance(mask, guard)[land.rows, land.cols]


def _is_calibrated(classifier: Any) -> bool:
    """Tell whether its scores are probabilities; those of a plain SVM only rank classes."""
    return bool(getattr(classifier, "probability", True))


def _is_enough(classifier: Any, held: HeldOut) -> bool:
    """Tell whether there are enough patches to use a temperature."""
    return held.patches >= MIN_PATCHES or not _is_calibrated(classifier)


def _usable(classifier: Any, validation: PredictedSamples) -> HeldOut | None:
    """Return the validation pixels of known classes and their probabilities, if any."""
    pixels, answers = validation
    shares = answers.get("probabilities")
    if shares is None or not np.isfinite(shares).all():
        return None
    known = np.isin(pixels.labels, classifier.classes_)
    if not known.any():
        return None
    land = pixels.take(known)
    patches = int(_patches_of(land).max()) + 1
    return HeldOut(land.labels, shares[:, known].T, patches, "validation")


def _patches_of(land: Samples) -> Indices:
    """Return the number (n,) of each pixel's patch: pixels that touch, if only at a corner."""
    from scipy.ndimage import label

    mask = np.zeros((land.rows.max() + 1, land.cols.max() + 1), dtype=bool)
    mask[land.rows, land.cols] = True
    return np.asarray(label(mask, np.ones((3, 3)))[0][land.rows, land.cols] - 1)


def feature_leakage(chain: Chain, stack: Scene, split: Split) -> FeatureLeakageMetrics:
    """Measure what the features of a chain carry from training to test pixels.

    Connected filters have an unbounded reach.  For these the share of test pixels is
    measured that lie in the same flat zone as a training pixel, where they have exactly
    its value: averaged over all features, which distinguishes splits, and in the flattest
    band, which is an upper bound that large thresholds push towards 1 under any split.
    """
    if chain.reach is not None:
        return _described(FeatureLeakageMetrics(
            chain=chain.text, reach=chain.reach, shared_zone=None, mean_zone=None, band=None
        ))  # fmt: skip
    values = np.asarray(stack.cube.values)
    flattest = flattest_band(values)
    return _described(
        FeatureLeakageMetrics(
            chain=chain.text,
            reach=None,
            shared_zone=shared_zone_share(split, values[flattest]),
            mean_zone=mean_zone_share(split, values),
            band=str(stack.cube.coords["band_name"].values[flattest]),
        )
    )


def mean_feature_leakage(audits: Sequence[FeatureLeakageMetrics]) -> FeatureLeakageMetrics:
    """Average the leakage of the same features over several seeds."""
    means = {}
    for name in ("shared_zone", "mean_zone"):
        known = [share for one in audits if (share := getattr(one, name)) is not None]
        means[name] = fmean(known) if known else None
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
    text = f"{100 * share:.1f} %"
    if 0 < share < 0.0005:
        return "less than 0.1 %"
    return "more than 99.9 %" if 0.9995 <= share < 1 else text


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
    train_seconds: float
    """Wall time of the training, without that of a search before it."""
    predict_seconds: float
    """Wall time of predicting validation and test pixels."""

    def to_metrics(self) -> ModelMetrics:
        """Return the result as a part of the metrics of a run."""
        changes: dict[str, Any] = {
            "validation_accuracy": self.validation_accuracy,
            "train_seconds": self.train_seconds,
            "predict_seconds": self.predict_seconds,
        }
        if self.calibration is not None:
            changes["calibration"] = self.calibration.to_metrics()
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
    classifier : an untrained classifier with ``fit_classifier`` and ``predict``
    scene : the image and its labels
    split : which pixels train and which test
    window : side of the windows the classifier sees; 1 for spectra
    windows : a window file to train from; map and test take the scene
    """
    seconds = fit_classifier(classifier, scene, split, window=window, windows=windows)
    return evaluate_classifier(
        classifier, scene, split, window=window, train_seconds=seconds
    )


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

    A network is shown the validation pixels too, which are part of nothing it
    learns: its curves follow them, and it may stop early by them.  Those of a
    class without a training pixel, which blocks may give, tell it nothing.

    Parameters
    ----------
    windows : path, optional
        Window file that holds the windows of all these pixels.
    checkpoint : path, optional
        Folder from which a network that was interrupted goes on.
    """
    scene.check_range()
    labels = scene.usable_labels
    train, shown = split.samples("train", labels), Samples.of(np.zeros_like(labels))
    extra: dict[str, Any] = {}
    if _is_network(classifier):
        shown = split.samples("validation", labels)
        shown = shown.take(np.isin(shown.labels, train.labels))
        extra["checkpoint"] = checkpoint
    # Both out of one stack, which holds the padded scene once.
    looked = _joined(train, shown)
    looks = (
        _classifier_input(scene, looked, window)
        if windows is None
        else windows_for(windows, scene, looked, window)
    )
    if len(shown):
        extra["validation"] = looks[len(train) :], shown.labels
    began = time.perf_counter()
    classifier.fit(looks[: len(train)], train.labels, **extra)
    return time.perf_counter() - began


def _joined(first: Samples, second: Samples) -> Samples:
    """Return the samples of both, in this order."""
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Samples(*(np.concatenate(pair) for pair in pairs))


def evaluate_classifier(
    classifier: Any,
    scene: Scene,
    split: Split,
    *,
    window: int = 1,
    train_seconds: float = 0.0,
) -> Trial:
    """Test a trained classifier on the test pixels of a split, and audit the split.

    Its probabilities are scaled by a temperature that is fitted on training pixels that
    were held out in turn or, of a network, on the validation pixels.
    """
    labels = scene.usable_labels
    held, test = (split.samples(part, labels) for part in ("validation", "test"))
    began = time.perf_counter()
    both = predict_samples(classifier, scene, _joined(held, test), window)
    seconds = time.perf_counter() - began
    shown = {name: values[..., : len(held)] for name, values in both.items()}
    own = {name: values[..., len(held) :] for name, values in both.items()}
    guard = guard_distance(split, labels)
    folds = out_of_fold_for_split(classifier, scene, split, guard) if window == 1 else None
    answers, calibration = calibrate(classifier, (held, shown), (test, own), folds=folds)
    tested = Predictions.of(
        test,
        answers["labels"],
        shape=scene.shape,
        confidence=answers.get("confidence"),
    )
    return Trial(
        classifier,
        evaluate(
            tested.predicted,
            labels=labels,
            split=split,
            legend=scene.legend,
            window=window,
        ),
        tested,
        calibration,
        _accuracy(shown["labels"], held),
        train_seconds,
        seconds,
    )


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
    """Predict the training pixels of a split out of fold; None for a network."""
    if _is_network(classifier):
        return None
    train = split.samples("train", scene.usable_labels)
    return out_of_fold(classifier, train, spectra_of(scene, train), guard=guard)


def _classifier_input(scene: Scene, samples: Samples, window: int) -> Any:
    """Return what a classifier sees of some pixels: windows, or spectra for one pixel."""
    if window != 1:
        return Windows.of(scene, samples, window)
    return spectra_of(scene, samples)


def predict_samples(classifier: Any, scene: Scene, at: Samples, window: int) -> Arrays:
    """Predict some samples: class codes and, where it says so, how sure it is of which.

    A network sees the scene in tiles: that is far faster than window by window,
    gives the same answers, and makes the accuracy that of the map itself.
    """
    from hypercover.prediction.layers import has_confidence, has_scores, predict_spectra

    asked = ["labels"]
    asked += ["confidence"] if has_confidence(classifier) else []
    asked += ["probabilities"] if has_scores(classifier) else []
    if _is_network(classifier):
        from hypercover.prediction.scene_prediction import predict_pixels

        return predict_pixels(classifier, scene, (at.rows, at.cols), asked)
    if not len(at):
        return {"labels": np.empty(0)}
    found = predict_spectra(classifier, _classifier_input(scene, at, window), set(asked))
    return {name: found[name] for name in asked}


def _is_network(classifier: Any) -> bool:
    """Tell whether a classifier is a network, which has checkpoints and sees whole tiles."""
    return hasattr(classifier, "predict_dense")


def _accuracy(predicted: Array, samples: Samples) -> float | None:
    return float(np.mean(predicted == samples.labels)) if len(samples) else None
