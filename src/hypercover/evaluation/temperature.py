"""One temperature that turns the probabilities of a classifier into honest ones."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError

__all__ = ["fit_confidence", "fit_temperature", "tempered"]

Floats = npt.NDArray[np.floating]
_MOST = 20.0
"""Largest temperature that is looked for; the least is its inverse."""
_STEPS = 25
"""Temperatures that are tried before the best of them is refined."""
_LEAST = 1e-12
"""Least distance of a confidence from 0 and 1 in a logarithm."""
_OFF = 1e-3
"""How far a sum of probabilities may be from one: float32 and rounding in files."""


def tempered(
    probabilities: npt.ArrayLike, temperature: float | None, axis: int = -1
) -> Floats:
    """Return probabilities under a temperature: the power 1 / T of each, summing to one.

    A temperature above 1 evens them out, one below 1 sharpens them, None or 1
    leaves them.  Their order stays, so the most probable class stays the same.
    For a softmax it is the division of the scores by T (Guo et al. 2017, eq. 9).

    Raises
    ------
    CallError
        If the temperature is not above 0.

    Examples
    --------
    >>> tempered([0.9, 0.1], 2).round(3).tolist()
    [0.75, 0.25]
    """
    given = np.asarray(probabilities)
    shares: Floats = given.astype(np.result_type(given, np.float32), copy=False)
    if temperature is None or temperature == 1:
        return shares
    if not 0 < temperature < math.inf:
        raise CallError(
            f"A temperature must be a number above 0, got {temperature}; use 1."
        )
    # Against the largest, so that no power of it can vanish.
    powers: Floats = shares / shares.max(axis=axis, keepdims=True)
    powers **= 1 / temperature
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


def fit_temperature(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: npt.ArrayLike
) -> float:
    """Find the temperature under which probabilities fit pixels that were not learnt from.

    Why it exists: networks are surer than they are right.  One number, learnt
    on validation pixels, mends most of that and changes no label.  It is the T
    from 1/20 to 20 that minimises the negative log-likelihood, which is convex
    in 1 / T.

    One pixel more is imagined, of any class with equal chance, as Platt (1999)
    does for his sigmoids: without it, validation pixels that are all right would
    ask for a certainty that no number of pixels can give.  A pixel of a class
    that has the probability 0, or is none of ``classes``, says nothing: no
    temperature raises a zero.

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
        If the probabilities are none, do not sum to one, are not one row a
        pixel, or no pixel is of a class of theirs.

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
    >>> tempered(sure[0], T).round(2).tolist()
    [0.9, 0.1]
    """
    shares, hits = _checked(probabilities, labels, classes)
    known = shares > 0
    logs = np.log(shares, out=np.full_like(shares, -np.inf), where=known)
    wanted = ((hits + 1 / hits.size) * known)[known]

    def loss(log_temperature: float) -> float:
        scaled = logs * math.exp(-log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -float(wanted @ scaled[known])

    reach = math.log(_MOST)
    return _best(loss, -reach, reach, len(shares))


def fit_confidence(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: npt.ArrayLike,
    *,
    units: int | None = None,
) -> float:
    """Find the temperature under which the largest probability is how often it is right.

    Why it exists: the shares of pairwise machines and the votes of trees order the classes
    but are no likelihoods; what they leave for a class that is not the first says little,
    and the likelihood of all classes (:func:`fit_temperature`) is ruled by it.  This is the
    T from 1/20 to 20 that minimises the logarithmic loss of "right or wrong" alone.

    One unit more is imagined, half right and half wrong (compare Platt 1999): a few units
    that are all right must not ask for certainty.

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
    >>> T = fit_confidence(modest, [1] * 900 + [2] * 100, classes=[1, 2])
    >>> tempered(modest[0], T).round(2).tolist()
    [0.9, 0.1]
    """
    shares, hits = _checked(probabilities, labels, classes)
    units = len(shares) if units is None else units
    right = hits[np.arange(len(shares)), shares.argmax(axis=1)]

    def loss(log_temperature: float) -> float:
        sure = tempered(shares, math.exp(log_temperature)).max(axis=1)
        sure = np.clip(sure, _LEAST, 1 - _LEAST)
        imagined = np.mean(np.log(sure) + np.log1p(-sure)) / (2 * units)
        return -float(np.mean(np.log(np.where(right, sure, 1 - sure))) + imagined)

    # It may have several valleys: the deepest of a grid is followed to its bottom.
    grid = np.linspace(-math.log(_MOST), math.log(_MOST), _STEPS)
    lowest = int(np.argmin([loss(place) for place in grid]))
    low, high = grid[max(lowest - 1, 0)], grid[min(lowest + 1, _STEPS - 1)]
    return _best(loss, low, high, 1)


def _best(loss: Callable[[float], float], low: float, high: float, count: int) -> float:
    """Return the temperature of least loss, or 1 where it is no better than that."""
    from scipy.optimize import minimize_scalar

    options = {"xatol": 1e-6}
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options=options)
    # Where every temperature is as good, as for a tree's zeros and ones, none is best.
    better = found.fun < loss(0.0) - 1e-9 * count
    return math.exp(found.x) if better else 1.0


def _checked(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the rows of known classes, and which class (n, class) each really has."""
    shares = np.asarray(probabilities, dtype=np.float64)
    codes, columns = np.asarray(labels), np.asarray(classes)
    if shares.shape != (len(codes), len(columns)):
        raise CallError(
            f"Probabilities of {len(codes)} pixels in {len(columns)} classes are one row a "
            f"pixel, got the shape {shares.shape}; give them as predict_proba does."
        )
    off = np.abs(shares.sum(axis=1) - 1)
    bad = ~((shares >= 0).all(axis=1) & (off <= _OFF))
    if bad.any():
        raise CallError(
            "Probabilities must be 0 or more and sum to one for each pixel, but those of "
            f"{bad.sum()} of {len(bad)} pixels do not (the first sums to "
            f"{shares[bad][0].sum():.4g}); give what predict_proba says, not scores."
        )
    hits = codes[:, None] == columns
    taught = hits.any(axis=1)
    if not taught.any():
        raise CallError(
            "A temperature is fitted on pixels of the classes that the model knows, and there "
            "is none; give validation pixels of these."
        )
    return shares[taught], hits[taught]
