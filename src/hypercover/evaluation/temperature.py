"""One temperature that turns the probabilities of a classifier into honest ones."""

import math

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError

__all__ = ["fit_temperature", "tempered"]

Floats = npt.NDArray[np.floating]
_MOST = 20.0
"""Largest temperature that is looked for; the least is its inverse."""
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

    from scipy.optimize import minimize_scalar

    reach = math.log(_MOST)
    options = {"xatol": 1e-6}
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options=options)
    # Where every temperature is as good, as for a tree's zeros and ones, none is best.
    better = found.fun < loss(0.0) - 1e-9 * len(shares)
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
