"""Scaling how sure a trained model is by its validation pixels, and what that is worth."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.evaluation.calibration import Calibration, calibration_error
from hypercover.evaluation.temperature import fit_temperature
from hypercover.samples.samples import Samples

__all__ = ["ENOUGH", "calibrate"]

ENOUGH = 30
"""Separate patches of validation pixels from which on a temperature is used."""
Answers = dict[str, npt.NDArray[Any]]
Answered = tuple[Samples, Answers]
"""Some pixels and what the model said of them: layers (…, pixel)."""


def calibrate(
    classifier: Any, validation: Answered, test: Answered
) -> tuple[Answers, Calibration | None]:
    """Scale the answers for test pixels by a temperature fitted on validation pixels.

    Why it exists: a confidence in a map shall mean how often the map is right.
    No test pixel is looked at for that; they only tell whether it came true.

    Pixels of one patch of land are right or wrong together.  A temperature that is
    fitted on few patches tells how these happen to do, and is proposed but not
    used: measured under guarded blocks, it does as much harm as good.

    Returns
    -------
    answers
        Those for the test pixels; as they were where nothing is scaled: the
        model gives no probabilities, or no validation pixel is of a class it
        knows, or these lie in fewer than ``ENOUGH`` patches.
    Calibration or None
        None where the model does not say how sure it is.
    """
    pixels, own = test
    right = own["labels"] == pixels.labels
    sure = own.get("confidence")
    if sure is None or not len(sure) or not np.isfinite(sure).all():
        return own, None
    held = _usable(classifier, validation)
    if held is None:
        return own, Calibration.of(sure, right)
    from hypercover.maps.layers import scaled

    land, shares = held
    proposed = fit_temperature(shares, land.labels, classifier.classes_)
    after = scaled(own, classifier.classes_, proposed)
    about = {
        "proposed": proposed,
        "error_proposed": calibration_error(after["confidence"], right),
        "fitted_on": len(land),
        "patches": _patches(land),
    }
    if about["patches"] < ENOUGH:
        return own, Calibration.of(sure, right, **about)
    used = {"temperature": proposed, "error_before": calibration_error(sure, right)}
    return after, Calibration.of(after["confidence"], right, **used, **about)


def _usable(
    classifier: Any, validation: Answered
) -> tuple[Samples, npt.NDArray[Any]] | None:
    """Return the pixels of known classes and their probabilities (n, class), if any."""
    pixels, answers = validation
    shares = answers.get("probabilities")
    if shares is None or not np.isfinite(shares).all():
        return None
    known = np.isin(pixels.labels, classifier.classes_)
    return (pixels.take(known), shares[:, known].T) if known.any() else None


def _patches(land: Samples) -> int:
    """Count the patches of pixels that touch each other, if only at a corner."""
    from scipy.ndimage import label

    mask = np.zeros((land.rows.max() + 1, land.cols.max() + 1), dtype=bool)
    mask[land.rows, land.cols] = True
    return int(label(mask, np.ones((3, 3)))[1])
