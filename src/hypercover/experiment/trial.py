"""A trial: one classifier trained and tested on one scene under one split."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.evaluation.calibration import Calibration
from hypercover.evaluation.evaluate import Evaluation, evaluate
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.calibrate import HeldOut, calibrate, out_of_fold
from hypercover.experiment.windows import windows_for
from hypercover.samples.guard import near
from hypercover.samples.samples import Samples
from hypercover.samples.spectra import spectra_of
from hypercover.samples.split import Split
from hypercover.samples.windows import Windows
from hypercover.scene.scene import Scene

__all__ = [
    "Trial",
    "answers_at",
    "fit",
    "guard_between",
    "held_in_turn",
    "judge",
    "run_trial",
]

Answers = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Trial:
    """What came out of training and testing one classifier."""

    classifier: Any
    """The classifier, now trained."""
    evaluation: Evaluation
    """Its accuracy on the test pixels, and what leaked."""
    predictions: Predictions
    """Its answers for the test pixels, one by one."""
    calibration: Calibration | None
    """What its confidence is worth, and the temperature that scaled it; None where
    it does not say how sure it is."""
    validation_accuracy: float | None
    """Share of validation pixels it got right; None without such pixels."""
    train_seconds: float
    """Wall time of the training, without that of a search before it."""
    predict_seconds: float
    """Wall time of predicting validation and test pixels."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        figures = {
            "validation_accuracy": self.validation_accuracy,
            "train_seconds": self.train_seconds,
            "predict_seconds": self.predict_seconds,
        }
        sure = self.calibration
        return (
            self.evaluation.to_json()
            | figures
            | ({} if sure is None else {"calibration": sure.to_json()})
        )


def run_trial(
    classifier: Any,
    scene: Scene,
    split: Split,
    *,
    window: int = 1,
    windows: Path | None = None,
) -> Trial:
    """Train a classifier on the training pixels of a split and test it on the others.

    Why it exists: it is the one place where training and test pixels meet, so
    here it is seen at a glance that nothing is fitted on the latter.

    Parameters
    ----------
    classifier : an untrained classifier with ``fit`` and ``predict``
    scene : the image and its labels
    split : which pixels train and which test
    window : side of the windows the classifier sees; 1 for spectra
    windows : a window file to train from; map and test take the scene
    """
    seconds = fit(classifier, scene, split, window=window, windows=windows)
    return judge(classifier, scene, split, window=window, train_seconds=seconds)


def fit(
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
        _look(scene, looked, window)
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


def judge(
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
    both = answers_at(classifier, scene, _joined(held, test), window)
    seconds = time.perf_counter() - began
    shown = {name: values[..., : len(held)] for name, values in both.items()}
    own = {name: values[..., len(held) :] for name, values in both.items()}
    guard = guard_between(split, labels)
    folds = held_in_turn(classifier, scene, split, guard) if window == 1 else None
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
        _share_right(shown["labels"], held),
        train_seconds,
        seconds,
    )


def guard_between(split: Split, labels: npt.NDArray[np.integer]) -> int | None:
    """Return how far test pixels lie from training pixels; None where most stand beside one."""
    settings = split.settings
    if isinstance(guard := settings.get("guard"), int):
        return guard
    test = split.samples("test", labels)
    beside = near(split.mask("train") & (labels > 0), 1)[test.rows, test.cols]
    drawn = "random" in (split.kind, settings.get("kind"))
    return None if drawn or 2 * np.count_nonzero(beside) > len(test) else 0


def held_in_turn(
    classifier: Any, scene: Scene, split: Split, guard: int | None
) -> HeldOut | None:
    """Return what a classifier of spectra says of training pixels that are held out."""
    if _is_network(classifier):
        return None
    train = split.samples("train", scene.usable_labels)
    return out_of_fold(classifier, train, spectra_of(scene, train), guard=guard)


def _look(scene: Scene, samples: Samples, window: int) -> Any:
    """Return what a classifier sees of some pixels: windows, or spectra for one pixel."""
    if window != 1:
        return Windows.of(scene, samples, window)
    return spectra_of(scene, samples)


def answers_at(classifier: Any, scene: Scene, at: Samples, window: int) -> Answers:
    """Predict some samples: class codes and, where it says so, how sure it is of which.

    A network sees the scene in tiles: that is far faster than window by window,
    gives the same answers, and makes the accuracy that of the map itself.
    """
    from hypercover.maps.layers import by_pixel, gives_confidence, gives_scores

    asked = ["labels"]
    asked += ["confidence"] if gives_confidence(classifier) else []
    asked += ["probabilities"] if gives_scores(classifier) else []
    if _is_network(classifier):
        from hypercover.maps.predict import predict_pixels

        return predict_pixels(classifier, scene, (at.rows, at.cols), asked)
    if not len(at):
        return {"labels": np.empty(0)}
    found = by_pixel(classifier, _look(scene, at, window), set(asked))
    return {name: found[name] for name in asked}


def _is_network(classifier: Any) -> bool:
    """Tell whether a classifier is a network, which has checkpoints and sees whole tiles."""
    return hasattr(classifier, "predict_dense")


def _share_right(predicted: npt.NDArray[Any], samples: Samples) -> float | None:
    return float(np.mean(predicted == samples.labels)) if len(samples) else None
