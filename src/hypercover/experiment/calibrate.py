"""Scaling how sure a trained model is by pixels it did not learn from, and what that is worth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.evaluation.calibration import Calibration, calibration_error
from hypercover.evaluation.temperature import fit_confidence, fit_temperature
from hypercover.samples.fold_groups import deal
from hypercover.samples.guard import near
from hypercover.samples.samples import Samples

__all__ = ["ENOUGH", "HeldOut", "calibrate", "out_of_fold", "temperature_of"]

ENOUGH = 30
"""Separate patches of held-out pixels from which on a temperature is used."""
_FOLDS = 5
_SIDES = 8, 64
"""Least and greatest side of the blocks that are held out of training, in pixels."""
_MOST = 20_000
"""Training pixels that the folds are made of at most."""
Answers = dict[str, npt.NDArray[Any]]
Answered = tuple[Samples, Answers]
"""Some pixels and what the model said of them: layers (…, pixel)."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pixels that took no part in a training, and the probabilities it gives them."""

    labels: npt.NDArray[np.int64]
    """Class code of each pixel (n,)."""
    shares: npt.NDArray[Any]
    """Probability of each class (n, class)."""
    patches: int
    """Separate patches or blocks in which the pixels lie, or pixels held out one by one."""
    by: str
    """``validation``: pixels of the split; ``folds``: training pixels held out in turn."""

    def temperature(self, classes: npt.NDArray[Any]) -> float:
        """Return the temperature that the pixels ask for.

        Networks learn the likelihood of all classes; of other classifiers it is the
        confidence alone that is to come true.
        """
        if self.by == "validation":
            return fit_temperature(self.shares, self.labels, classes)
        return fit_confidence(self.shares, self.labels, classes, units=self.patches)


def calibrate(
    classifier: Any,
    validation: Answered,
    test: Answered,
    *,
    folds: HeldOut | None = None,
) -> tuple[Answers, Calibration | None]:
    """Scale the answers for test pixels by a temperature fitted on held-out pixels.

    Why it exists: a confidence in a map shall mean how often the map is right.
    No test pixel is looked at for that; they only tell whether it came true.

    Pixels of one patch of land are right or wrong together.  A temperature that is
    fitted on few patches tells how these happen to do, and is proposed but not
    used: measured under guarded blocks, it does as much harm as good.  The shares of an
    SVM without ``probability`` are no probabilities at all before they are scaled, so
    that any temperature of ``folds`` is used for these.

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
        knows, or these lie in fewer than ``ENOUGH`` patches.
    Calibration or None
        None where the model does not say how sure it is.
    """
    from hypercover.maps.layers import scaled

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
    after = scaled(own, classifier.classes_, proposed)
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


def temperature_of(classifier: Any, held: HeldOut | None) -> float | None:
    """Return the temperature for a trained classifier; None where the pixels are too few."""
    if held is None or not _is_enough(classifier, held):
        return None
    return held.temperature(classifier.classes_)


def out_of_fold(
    classifier: Any, land: Samples, spectra: Any, *, guard: int | None = 0
) -> HeldOut | None:
    """Return what a classifier says of its training pixels when it did not learn from them.

    They are held out as the pixels lie that it will be asked about.  Where these stand
    between training pixels, single pixels are dealt to five folds.  Otherwise whole blocks
    are, and pixels within the guard around them do not train either: what lies beside the
    training is known too well.  The blocks are squares as large as the training patches,
    but not in line with them; where a whole patch is left out, classes with few patches
    vanish and the temperature goes wrong.

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


def _folds_of(land: Samples, guard: int | None) -> tuple[npt.NDArray[np.intp], int]:
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
    folds = deal(land.labels, units, min(_FOLDS, count), np.random.default_rng(0))
    return folds, count


def _around(
    land: Samples, held: npt.NDArray[np.bool_], guard: int
) -> npt.NDArray[np.bool_]:
    """Tell which pixels (n,) lie within the guard around those that are held out."""
    mask = np.zeros((land.rows.max() + 1, land.cols.max() + 1), dtype=bool)
    mask[land.rows[held], land.cols[held]] = True
    return near(mask, guard)[land.rows, land.cols]


def _is_calibrated(classifier: Any) -> bool:
    """Tell whether its shares are meant as probabilities; those of a plain SVM only rank."""
    return bool(getattr(classifier, "probability", True))


def _is_enough(classifier: Any, held: HeldOut) -> bool:
    """Tell whether pixels lie in so many places that a temperature of theirs is used."""
    return held.patches >= ENOUGH or not _is_calibrated(classifier)


def _usable(classifier: Any, validation: Answered) -> HeldOut | None:
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


def _patches_of(land: Samples) -> npt.NDArray[np.intp]:
    """Return the number (n,) of each pixel's patch: pixels that touch, if only at a corner."""
    from scipy.ndimage import label

    mask = np.zeros((land.rows.max() + 1, land.cols.max() + 1), dtype=bool)
    mask[land.rows, land.cols] = True
    return np.asarray(label(mask, np.ones((3, 3)))[0][land.rows, land.cols] - 1)
