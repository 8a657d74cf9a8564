"""Temperatures for the confidence of a trained classifier, fitted on held-out pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import label

from hypercover.evaluation.calibration import (
    Calibration,
    calibration_error,
    fit_confidence_temperature,
    fit_temperature,
)
from hypercover.prediction.scene_prediction import scale_probabilities
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.splits.folds import assign_folds
from hypercover.splits.split import Split, within_distance
from hypercover.types import Array, Arrays, Codes, Indices, Ints, Mask

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

    def fit_temperature(self, classes: Array) -> float:
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
    proposed = held.fit_temperature(classifier.classes_)
    scaled = scale_probabilities(predicted, classifier.classes_, proposed)
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
    return held.fit_temperature(classifier.classes_)


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

    if is_network(classifier) or not hasattr(classifier, "get_params"):
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


def is_network(classifier: Any) -> bool:
    """Tell whether a classifier is a network, which has checkpoints and sees whole tiles."""
    return hasattr(classifier, "predict_dense")
