"""The layers of a prediction: class, confidence, probabilities and entropy of each pixel."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from hypercover.errors import ModelError
from hypercover.evaluation.calibration import tempered
from hypercover.scene.io.geotiff import code_type
from hypercover.types import Array, Arrays, Ints, Mask, Singles

_CALIBRATED = ("probabilities", "entropy")
_SCALED = ("confidence", *_CALIBRATED, "scores")
_PER_CLASS = ("probabilities", "scores")


def empty_layers(names: Iterable[str], codes: Ints, shape: tuple[int, int]) -> Arrays:
    """Return layers (y, x) without data."""
    layers: Arrays = {}
    for name in names:
        if name == "labels":
            layers[name] = np.zeros(shape, code_type(codes))
        else:
            size = (len(codes), *shape) if name in _PER_CLASS else shape
            layers[name] = np.full(size, np.nan, np.float32)
    return layers


def has_confidence(classifier: Any) -> bool:
    """Tell whether a classifier gives a confidence."""
    names = ("predict_dense", "confidence", "predict_proba")
    return any(hasattr(classifier, name) for name in names)


def has_scores(classifier: Any) -> bool:
    """Tell whether a classifier scores every class, by probabilities or otherwise."""
    return any(hasattr(classifier, name) for name in ("predict_dense", "predict_proba"))


def has_probabilities(classifier: Any) -> bool:
    """Tell whether a classifier's scores are probabilities.

    Those of an SVM without ``probability=True`` are not: they only rank pixels.
    """
    return hasattr(classifier, "predict_dense") or (
        hasattr(classifier, "predict_proba") and getattr(classifier, "probability", True)
    )


def check_layers(
    classifier: Any, layers: Iterable[str], temperature: float | None = None
) -> None:
    """Check that the classifier has the probabilities that some layers need.

    Raises
    ------
    ModelError
        Also for an SVM without calibration: a score of 0.9 does not mean right nine
        times in ten, unless it is scaled by a temperature.
    """
    needing = [layer for layer in layers if layer in _CALIBRATED]
    scaled = temperature is not None and has_scores(classifier)
    if needing and not (scaled or has_probabilities(classifier)):
        raise ModelError(
            f"A map of {needing[0]} needs calibrated probabilities, which the model does not "
            "give; train it again in a run, which calibrates it, or with probability: true, "
            "or leave that map out."
        )


def entropy(probabilities: Array) -> Singles:
    """Return the entropy of probabilities (class, …), divided by its maximum.

    The natural logarithm of the number of classes is the maximum: 0 means that one
    class is certain, 1 that all classes are equally probable.

    Examples
    --------
    >>> result = entropy(np.array([[1.0, 0.5, 0.75], [0.0, 0.5, 0.25]]))
    >>> [f"{share:.3f}" for share in abs(result)]
    ['0.000', '1.000', '0.811']
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    spread = (shares * logarithms).sum(axis=0) / -np.log(max(2, len(shares)))
    return np.asarray(np.clip(spread, 0, 1), dtype=np.float32)


def predict_piece(
    layers: Arrays,
    classifier: Any,
    values: Array,
    valid: Mask,
    memory: int,
    temperature: float | None = None,
) -> None:
    """Predict one piece of a scene into empty layers.

    Parameters
    ----------
    layers : arrays of the piece, changed in place
    classifier : see :func:`~hypercover.prediction.scene_prediction.predict_scene`
    values : array (band, row + 2 · margin, col + 2 · margin)
    valid : array (row, col)
        Which pixels hold data.
    memory : int
        Bytes that a dense classifier may work with.
    temperature : float, optional
        Scales the probabilities; labels do not depend on it.
    """
    if not valid.any():
        return
    names = set(layers)
    if temperature is not None and not names.isdisjoint(_SCALED):
        names.add("probabilities")
    if hasattr(classifier, "predict_dense"):
        result = _predict_dense(classifier, values, valid, memory)
    else:
        result = predict_spectra(classifier, values[:, valid].T, names)
    if temperature is not None and "probabilities" in result:
        result = scale_probabilities(result, classifier.classes_, temperature)
    if "entropy" in layers:
        result["entropy"] = entropy(result["probabilities"])
    for layer, array in layers.items():
        array[..., valid] = result[layer]


def _predict_dense(classifier: Any, values: Array, valid: Mask, memory: int) -> Arrays:
    """Return the layers (…, pixel) of a classifier that sees windows."""
    shares = np.asarray(classifier.predict_dense(values, memory=memory))[:, valid]
    labels = np.asarray(classifier.classes_)[shares.argmax(axis=0)]
    return {
        "labels": labels,
        "confidence": shares.max(axis=0),
        "probabilities": shares,
        "scores": shares,
    }


def predict_spectra(classifier: Any, spectra: Array, names: set[str]) -> Arrays:
    """Return the layers (…, pixel) of a classifier of spectra (pixel, band).

    The label is the classifier's own prediction and the confidence that of the
    label: the largest probability of some classifiers is of another class.
    """
    spectra = np.ascontiguousarray(spectra)
    result = {"labels": np.asarray(classifier.predict(spectra))}
    own = hasattr(classifier, "confidence")
    if "confidence" in names and own:
        result["confidence"] = np.asarray(classifier.confidence(spectra))
    scored = not names.isdisjoint((*_CALIBRATED, "scores"))
    if scored or ("confidence" in names and not own):
        shares = np.asarray(classifier.predict_proba(spectra)).T
        result["probabilities"] = result["scores"] = shares
        if not own:
            result["confidence"] = _of_labels(shares, result["labels"], classifier.classes_)
    return result


def scale_probabilities(layers: Arrays, classes: Array, temperature: float) -> Arrays:
    """Return the layers (…, pixel) with probabilities and confidence scaled by a temperature.

    The labels stay, even where rounding makes two classes equally probable.
    """
    shares = tempered(layers["probabilities"], temperature, axis=0)
    confidence = _of_labels(shares, layers["labels"], classes)
    return layers | {"probabilities": shares, "scores": shares, "confidence": confidence}


def _of_labels(shares: Array, labels: Array, classes: Array) -> Array:
    """Return the probability (pixel,) of each pixel's label."""
    # Classes need not be sorted: LIBSVM keeps them in the order of its file.
    order = np.argsort(classes)
    taken = order[np.searchsorted(classes, labels, sorter=order)]
    return np.asarray(shares[taken, np.arange(len(taken))])
