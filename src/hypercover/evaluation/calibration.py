"""Calibration: whether a confidence of 0.9 means being right nine times out of ten."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.evaluation import run_metrics
from hypercover.types import Floats, Mask

BINS = 15
"""Bins of the headline figure, as Guo et al. (2017) have them."""

COVERAGES = tuple(step / 20 for step in range(1, 21))
"""Coverages of the abstention curve: shares of the pixels that are kept."""

_ROUNDING = 1e-5


Equal = Literal["width", "mass"]


_UNSCALED = {
    "temperature": None,
    "proposed": None,
    "fitted_on": 0,
    "patches": 0,
    "error_before": None,
    "error_proposed": None,
    "by": None,
}
"""What describes the scaling of a confidence that is a model's own."""


class Calibration(run_metrics.CalibrationMetrics):
    """Calibration of the confidence of a model, measured on test pixels.

    Examples
    --------
    >>> found = Calibration.of([0.9, 0.9, 0.6], [True, False, True])
    >>> f"{found.error:.3f}", found.abstention[-1].kept
    ('0.400', 1.0)
    """

    @classmethod
    def of(
        cls, confidence: npt.ArrayLike, right: npt.ArrayLike, **about: Any
    ) -> "Calibration":
        """Measure confidences (n,) against which answers were right (n,).

        Parameters
        ----------
        confidence : array (n,)
            Confidence of the predicted class, 0 to 1.
        right : array (n,) of bool
            Whether the prediction is right.
        about
            Values of other fields, such as ``temperature``.

        Raises
        ------
        CallError
            If there are no pixels, or a confidence is not between 0 and 1.
        """
        bins = reliability_bins(confidence, right)
        curve = [
            run_metrics.SelectiveAccuracy(kept=kept, accuracy=accuracy)
            for kept, accuracy in abstention_curve(confidence, right)
        ]
        return cls(error=_gap(bins), bins=list(bins), abstention=curve, **_UNSCALED | about)


def calibration_error(
    confidence: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    bins: int = BINS,
    equal: Equal = "width",
) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy.

    Each bin counts by its share of the pixels (Naeini et al. 2015; Guo et al.
    2017, eq. 3).  The headline of hypercover is that of 15 bins of equal width;
    bins of equal mass, which hold as many pixels each, show whether the width
    mattered.

    Parameters
    ----------
    confidence : array (n,)
        Predicted probability of the predicted class, 0 to 1.
    right : array (n,) of bool
        Whether the prediction was correct.
    bins : int
    equal : {"width", "mass"}

    Raises
    ------
    CallError
        If there are no pixels, the lengths differ, or a confidence is not between 0 and 1.

    References
    ----------
    Naeini, M. P., Cooper, G. F., Hauskrecht, M. (2015), "Obtaining well
    calibrated probabilities using Bayesian binning", AAAI, 2901-2907.
    Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017), "On calibration of
    modern neural networks", ICML, 1321-1330.

    Examples
    --------
    >>> calibration_error([0.75, 0.75, 0.75, 0.75], [True, True, True, False])
    0.0
    >>> calibration_error([1.0, 1.0], [True, False])
    0.5
    """
    return _gap(reliability_bins(confidence, right, bins=bins, equal=equal))


def reliability_bins(
    confidence: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    bins: int = BINS,
    equal: Equal = "width",
) -> tuple[run_metrics.CalibrationBin, ...]:
    """Bin pixels by their confidence, as for a reliability diagram.

    Bins of equal width are (0, 1/n], (1/n, 2/n] and so on, with 0 in the first
    and empty ones among them.  Bins of equal mass hold pixels in the order of
    their confidence, equal confidences always together; empty ones are left out.

    Parameters
    ----------
    confidence : array (n,)
        Confidence of the predicted class, 0 to 1.
    right : array (n,) of bool
        Whether the prediction is right.
    bins : int
    equal : {"width", "mass"}

    Raises
    ------
    CallError
        As :func:`calibration_error`.

    Examples
    --------
    >>> reliability_bins([0.2, 0.9, 0.8], [False, True, True], bins=2)[0]
    CalibrationBin(low=0.0, high=0.5, count=1, confidence=0.2, accuracy=0.0)
    """
    shares, hits = _checked(confidence, right)
    if bins < 1:
        raise CallError(f"A calibration error needs at least one bin, got {bins}; use 15.")
    if equal == "width":
        edges = np.linspace(0, 1, bins + 1)
        # The first edge that is not below: (low, high].
        place = np.maximum(np.searchsorted(edges, shares) - 1, 0)
        parts = [place == index for index in range(bins)]
        ends = [*pairwise(edges)]
    elif equal == "mass":
        _, group, count = np.unique(shares, return_inverse=True, return_counts=True)
        # The bin of equal confidences is that of the middle of their ranks.
        middle = np.cumsum(count) - count / 2
        place = (middle[group] * bins // len(shares)).astype(np.intp)
        parts = [place == index for index in np.unique(place)]
        ends = [(shares[part].min(), shares[part].max()) for part in parts]
    else:
        raise CallError(f"Bins are of equal width or mass, got {equal!r}.")
    return tuple(
        run_metrics.CalibrationBin(
            low=float(low),
            high=float(high),
            count=int(part.sum()),
            confidence=float(shares[part].mean()) if part.any() else None,
            accuracy=float(hits[part].mean()) if part.any() else None,
        )
        for part, (low, high) in zip(parts, ends, strict=True)
    )


def _gap(bins: Sequence[run_metrics.CalibrationBin]) -> float:
    """Return the mean distance of accuracy and confidence, each bin by its pixels."""
    gaps = (
        each.count * abs(each.accuracy - each.confidence)
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    )
    return sum(gaps) / sum(each.count for each in bins)


def abstention_curve(
    confidence: npt.ArrayLike, right: npt.ArrayLike, shares: Sequence[float] = COVERAGES
) -> tuple[tuple[float, float], ...]:
    """Return the accuracy on the surest pixels for some shares of them that are kept.

    A map may leave uncertain pixels unclassified.  The curve gives the accuracy of the
    others; its last point, all pixels, is the overall accuracy (El-Yaniv and Wiener
    2010: risk and coverage).  Ties in confidence are averaged over all orders.

    Parameters
    ----------
    confidence : array (n,)
        Confidence of the predicted class, 0 to 1.
    right : array (n,) of bool
        Whether the prediction is right.
    shares : sequence of float
        Shares of the pixels to keep, above 0 and up to 1.

    Raises
    ------
    CallError
        As :func:`calibration_error`, or if a share is not above 0 and up to 1.

    References
    ----------
    El-Yaniv, R., Wiener, Y. (2010), "On the foundations of noise-free selective
    classification", JMLR 11, 1605-1641.

    Examples
    --------
    >>> abstention_curve([0.9, 0.8, 0.5, 0.5], [True, True, True, False], [0.5, 0.75, 1])
    ((0.5, 1.0), (0.75, 0.8333333333333334), (1.0, 0.75))
    """
    values, hits = _checked(confidence, right)
    kept = np.asarray(shares, dtype=np.float64)
    if not ((kept > 0) & (kept <= 1)).all():
        raise CallError(
            f"Shares of pixels to keep lie above 0 and up to 1, got {list(shares)}."
        )
    _, group, count = np.unique(-values, return_inverse=True, return_counts=True)
    pixels = np.concatenate([[0], np.cumsum(count)])
    good = np.concatenate([[0], np.cumsum(np.bincount(group, weights=hits))])
    # Straight within a group of equals: the mean over all orders.
    accuracy = np.interp(kept * len(values), pixels, good) / (kept * len(values))
    return tuple(zip(kept.tolist(), accuracy.tolist(), strict=True))


def _checked(confidence: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Floats, Mask]:
    """Return confidences and hits after checking their ranges and lengths."""
    shares, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if shares.ndim != 1 or shares.shape != hits.shape or not len(shares):
        raise CallError(
            "Calibration is measured on at least one pixel with one confidence and one right "
            f"or wrong each, got the shapes {shares.shape} and {hits.shape}."
        )
    outside = ~((shares >= -_ROUNDING) & (shares <= 1 + _ROUNDING))
    if outside.any():
        raise CallError(
            f"A confidence is a share from 0 to 1, got {shares[outside][0]:g} and "
            f"{outside.sum() - 1} more of {len(shares)} outside; give probabilities."
        )
    return np.clip(shares, 0, 1), hits


Shares = npt.NDArray[np.floating]

_MOST = 20.0
"""Largest temperature that is looked for; the least is its inverse."""

_STEPS = 25
"""Temperatures that are tried before the best of them is refined."""

_LEAST = 1e-12
"""Least distance of a confidence from 0 and 1 in a logarithm."""

_OFF = 1e-3
"""How far a sum of probabilities may be from one: float32 and rounding in files."""


def apply_temperature(
    probabilities: npt.ArrayLike, temperature: float | None, axis: int = -1
) -> Shares:
    """Return probabilities under a temperature: the power 1 / T of each, summing to one.

    A temperature above 1 evens them out, one below 1 sharpens them, None or 1
    leaves them.  Their order stays, so the most probable class stays the same.
    For a softmax it is the division of the scores by T (Guo et al. 2017, eq. 9).

    Parameters
    ----------
    probabilities : array
        Probabilities of the classes along ``axis``.
    temperature : float or None
    axis : int

    Raises
    ------
    CallError
        If the temperature is not above 0.

    Examples
    --------
    >>> apply_temperature([0.9, 0.1], 2).round(3).tolist()
    [0.75, 0.25]
    """
    given = np.asarray(probabilities)
    shares: Shares = given.astype(np.result_type(given, np.float32), copy=False)
    if temperature is None or temperature == 1:
        return shares
    if not 0 < temperature < math.inf:
        raise CallError(
            f"A temperature must be a number above 0, got {temperature}; use 1."
        )
    # Against the largest, so that no power of it can vanish.
    powers: Shares = shares / shares.max(axis=axis, keepdims=True)
    powers **= 1 / temperature
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


def fit_temperature(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: npt.ArrayLike
) -> float:
    """Fit the temperature that calibrates probabilities on held-out pixels.

    Networks are overconfident.  A single parameter fitted on validation pixels corrects
    most of that and changes no label: the T from 1/20 to 20 that minimises the negative
    log-likelihood, which is convex in 1 / T.

    One pseudo-pixel is added, spread evenly over the classes, as Platt (1999) does for
    sigmoids: otherwise validation pixels that are all right would lead to absolute
    certainty.  Pixels whose class has probability 0 or is not among ``classes`` are
    ignored, as no temperature raises a zero.

    Parameters
    ----------
    probabilities : array (n, class)
    labels : array (n,)
        The class each pixel really has.
    classes : array (class,)
        The class of each column.

    Raises
    ------
    CallError
        If the probabilities are negative, do not sum to one, have another number of rows than there are pixels,
        or no pixel belongs to one of the classes.

    References
    ----------
    Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017), "On calibration of
    modern neural networks", ICML, 1321-1330.
    Platt, J. (1999), "Probabilistic outputs for support vector machines".

    Examples
    --------
    Right nine times in ten, and as sure as if it were right always but once in a hundred:

    >>> sure = np.tile([0.99, 0.01], (1000, 1))
    >>> T = fit_temperature(sure, [1] * 900 + [2] * 100, classes=[1, 2])
    >>> apply_temperature(sure[0], T).round(2).tolist()
    [0.9, 0.1]
    """
    shares, hits = _checked_probabilities(probabilities, labels, classes)
    positive = shares > 0
    logs = np.log(shares, out=np.full_like(shares, -np.inf), where=positive)
    weights = (hits + 1 / hits.size)[positive]

    def loss(log_temperature: float) -> float:
        scaled = logs * math.exp(-log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -float(weights @ scaled[positive])

    reach = math.log(_MOST)
    return _best(loss, -reach, reach, len(shares))


def fit_confidence_temperature(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: npt.ArrayLike,
    *,
    units: int | None = None,
) -> float:
    """Fit the temperature under which the largest probability matches the accuracy.

    The scores of pairwise SVMs and the votes of trees rank the classes but are not
    likelihoods.  What they assign to the other classes means little, yet dominates the
    likelihood of all classes (:func:`fit_temperature`).  This is the T from 1/20 to 20
    that minimises the logarithmic loss of "right or wrong" alone.

    One pseudo-unit is added, half right and half wrong (compare Platt 1999), so that a
    few units that are all right do not lead to certainty.

    Parameters
    ----------
    probabilities, labels, classes : as of :func:`fit_temperature`
    units : int, optional
        Independent pieces that the pixels make up, such as blocks of land; by default each
        pixel is one.

    Raises
    ------
    CallError
        As :func:`fit_temperature`.

    Examples
    --------
    >>> modest = np.tile([0.6, 0.4], (1000, 1))
    >>> T = fit_confidence_temperature(modest, [1] * 900 + [2] * 100, classes=[1, 2])
    >>> apply_temperature(modest[0], T).round(2).tolist()
    [0.9, 0.1]
    """
    shares, hits = _checked_probabilities(probabilities, labels, classes)
    units = len(shares) if units is None else units
    right = hits[np.arange(len(shares)), shares.argmax(axis=1)]

    def loss(log_temperature: float) -> float:
        top = apply_temperature(shares, math.exp(log_temperature)).max(axis=1)
        top = np.clip(top, _LEAST, 1 - _LEAST)
        imagined = np.mean(np.log(top) + np.log1p(-top)) / (2 * units)
        return -float(np.mean(np.log(np.where(right, top, 1 - top))) + imagined)

    # It may have several valleys: the deepest of a grid is followed to its bottom.
    grid = np.linspace(-math.log(_MOST), math.log(_MOST), _STEPS)
    lowest = int(np.argmin([loss(place) for place in grid]))
    low, high = grid[max(lowest - 1, 0)], grid[min(lowest + 1, _STEPS - 1)]
    return _best(loss, low, high, 1)


def _best(loss: Callable[[float], float], low: float, high: float, count: int) -> float:
    """Return the temperature of the smallest loss, or 1 if none is better."""
    from scipy.optimize import minimize_scalar

    options = {"xatol": 1e-6}
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options=options)
    # Where every temperature is as good, as for a tree's zeros and ones, none is best.
    better = found.fun < loss(0.0) - 1e-9 * count
    return math.exp(found.x) if better else 1.0


def _checked_probabilities(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: npt.ArrayLike
) -> tuple[Floats, Mask]:
    """Return the rows of known classes, and which class (n, class) each really has."""
    shares = np.asarray(probabilities, dtype=np.float64)
    codes, columns = np.asarray(labels), np.asarray(classes)
    if shares.shape != (len(codes), len(columns)):
        raise CallError(
            f"Probabilities of {len(codes)} pixels in {len(columns)} classes need one row "
            f"per pixel, got the shape {shares.shape}; pass the output of predict_proba."
        )
    off = np.abs(shares.sum(axis=1) - 1)
    bad = ~((shares >= 0).all(axis=1) & (off <= _OFF))
    if bad.any():
        raise CallError(
            "Probabilities must be 0 or more and sum to one for each pixel, but those of "
            f"{bad.sum()} of {len(bad)} pixels do not (the first sums to "
            f"{shares[bad][0].sum():.4g}); pass the output of predict_proba, not scores."
        )
    hits = codes[:, None] == columns
    usable = hits.any(axis=1)
    if not usable.any():
        raise CallError(
            "No validation pixel belongs to a class of the model; give some that do."
        )
    return shares[usable], hits[usable]
