"""What is said of every pixel: its class, and how sure that is."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError
from hypercover.evaluation.calibration import tempered
from hypercover.scene.io.class_raster import code_type

__all__ = [
    "Layers",
    "check_layers",
    "empty_layers",
    "entropy",
    "has_confidence",
    "has_probabilities",
    "has_scores",
    "predict_piece",
    "predict_spectra",
    "scale_probabilities",
]

Layers = dict[str, npt.NDArray[Any]]
"""By layer: ``labels``, ``confidence`` and ``entropy`` (y, x), ``probabilities``
and ``scores`` (class, y, x), which need not be calibrated.  Where there is no data,
labels are 0 and all others NaN."""
_SHARES = ("probabilities", "entropy")
_SURE = ("confidence", *_SHARES, "scores")
_OF_CLASSES = ("probabilities", "scores")


def empty_layers(
    layers: Iterable[str], codes: npt.NDArray[np.int64], shape: tuple[int, int]
) -> Layers:
    """Return layers that say of no pixel anything."""
    answers: Layers = {}
    for layer in layers:
        size = (len(codes), *shape) if layer in _OF_CLASSES else shape
        if layer == "labels":
            answers[layer] = np.zeros(size, code_type(codes))
        else:
            answers[layer] = np.full(size, np.nan, np.float32)
    return answers


def has_confidence(classifier: Any) -> bool:
    """Tell whether a classifier says how sure it is of its answers."""
    names = ("predict_dense", "confidence", "predict_proba")
    return any(hasattr(classifier, name) for name in names)


def has_scores(classifier: Any) -> bool:
    """Tell whether a classifier gives every class a share, be it a probability or not."""
    return any(hasattr(classifier, name) for name in ("predict_dense", "predict_proba"))


def has_probabilities(classifier: Any) -> bool:
    """Tell whether what a classifier says of its classes are probabilities.

    The shares of an SVM without ``probability=True`` are none: they rank pixels.
    """
    return hasattr(classifier, "predict_dense") or (
        hasattr(classifier, "predict_proba") and getattr(classifier, "probability", True)
    )


def check_layers(
    classifier: Any, layers: Iterable[str], temperature: float | None = None
) -> None:
    """Refuse layers that need probabilities of a classifier that has none.

    Raises
    ------
    ModelError
        Also of an SVM without calibration: its shares rank pixels, but 0.9 of
        them does not mean right nine times in ten.  Scaled by a temperature they do.
    """
    wanted = [layer for layer in layers if layer in _SHARES]
    scaled_shares = temperature is not None and has_scores(classifier)
    if wanted and not (scaled_shares or has_probabilities(classifier)):
        raise ModelError(
            f"A map of {wanted[0]} was asked for, and the model gives no calibrated "
            "probabilities; train it again in a run, which calibrates it, or with "
            "probability: true, or leave that map out."
        )


def entropy(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the entropy of probabilities (class, …) as a share of the greatest there can be.

    Natural logarithms over that of the number of classes: 0 where one class is
    certain, 1 where all are as probable as each other.

    Examples
    --------
    >>> found = entropy(np.array([[1.0, 0.5, 0.75], [0.0, 0.5, 0.25]]))
    >>> [f"{share:.3f}" for share in abs(found)]
    ['0.000', '1.000', '0.811']
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    spread = (shares * logarithms).sum(axis=0) / -np.log(max(2, len(shares)))
    found: npt.NDArray[np.float32] = np.clip(spread, 0, 1).astype(np.float32)
    return found


def predict_piece(
    answers: Layers,
    classifier: Any,
    values: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    memory: int,
    temperature: float | None = None,
) -> None:
    """Predict one piece of a scene into layers that were blank.

    Parameters
    ----------
    answers : layers of the piece
    classifier : see :func:`hypercover.prediction.scene_prediction.predict_scene`
    values : array (band, row + 2 · margin, col + 2 · margin)
    valid : array (row, col)
        Which pixels hold data.
    memory : int
        Bytes that a dense classifier may work with.
    temperature : float, optional
        By which the probabilities are scaled; labels do not change by it.
    """
    if not valid.any():
        return
    asked = set(answers)
    if temperature is not None and not asked.isdisjoint(_SURE):
        asked.add("probabilities")
    dense = hasattr(classifier, "predict_dense")
    found = (
        _dense(classifier, values, valid, memory)
        if dense
        else predict_spectra(classifier, values[:, valid].T, asked)
    )
    if temperature is not None and "probabilities" in found:
        found = scale_probabilities(found, classifier.classes_, temperature)
    if "entropy" in answers:
        found["entropy"] = entropy(found["probabilities"])
    for layer, array in answers.items():
        array[..., valid] = found[layer]


def _dense(
    classifier: Any, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], memory: int
) -> Layers:
    """Return the answers (…, pixel) of a classifier that sees windows."""
    shares = np.asarray(classifier.predict_dense(values, memory=memory))[:, valid]
    labels = np.asarray(classifier.classes_)[shares.argmax(axis=0)]
    sure = shares.max(axis=0)
    return {"labels": labels, "confidence": sure, "probabilities": shares, "scores": shares}


def predict_spectra(classifier: Any, pixels: npt.NDArray[Any], layers: set[str]) -> Layers:
    """Return the answers (…, pixel) of a classifier that sees spectra (pixel, band).

    The label is the classifier's own, not the largest probability, and the
    confidence that of the label: some classifiers' probabilities favour
    another class than the one they answer.
    """
    spectra = np.ascontiguousarray(pixels)
    found = {"labels": np.asarray(classifier.predict(spectra))}
    own = hasattr(classifier, "confidence")
    if "confidence" in layers and own:
        found["confidence"] = np.asarray(classifier.confidence(spectra))
    scored = not layers.isdisjoint((*_SHARES, "scores"))
    if scored or ("confidence" in layers and not own):
        shares = np.asarray(classifier.predict_proba(spectra)).T
        found["probabilities"] = found["scores"] = shares
        if not own:
            found["confidence"] = _of_labels(shares, found["labels"], classifier.classes_)
    return found


def scale_probabilities(
    answers: Layers, classes: npt.NDArray[Any], temperature: float
) -> Layers:
    """Return answers (…, pixel) with probabilities and confidence under a temperature.

    The labels stay, whatever rounding makes of two classes that are as probable.
    """
    shares = tempered(answers["probabilities"], temperature, axis=0)
    sure = _of_labels(shares, answers["labels"], classes)
    return answers | {"probabilities": shares, "scores": shares, "confidence": sure}


def _of_labels(
    shares: npt.NDArray[Any], labels: npt.NDArray[Any], classes: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return the probability of the class (pixel,) that was answered."""
    # Classes need not be in order: LIBSVM's are as they came.
    order = np.argsort(classes)
    taken = order[np.searchsorted(classes, labels, sorter=order)]
    return np.asarray(shares[taken, np.arange(len(taken))])
