"""McNemar's test: whether two classifiers err equally often on the same pixels.

McNemar, Q. (1947), Psychometrika 12, 153-157; with the correction for
continuity of Edwards (1948), Psychometrika 13, 185-187; for maps see Foody
(2004), Photogrammetric Engineering & Remote Sensing 70, 627-633.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, chi2

__all__ = ["McNemar", "mcnemar"]


@dataclass(frozen=True)
class McNemar:
    """How often both, one or none of two classifiers is right, and by what chance.

    The test takes pixels as independent.  In an image they are not, and its
    p-values are far too small; it is here because it is asked for.
    """

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    exact_p: float
    """Two-sided probability of the exact binomial test."""
    chi2: float
    """Statistic with correction for continuity, of one degree of freedom."""
    chi2_p: float
    """Its probability."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> McNemar:
    """Test two classifiers on which pixels each is right (n,).

    Only the pixels on which one alone is right count.  Where there is none, both
    p-values are 1; where both are alone right equally often, so is the statistic 0.

    Examples
    --------
    >>> first = np.array([True] * 9 + [False] * 3)
    >>> found = mcnemar(first, ~first)
    >>> found.only_first, found.only_second, round(found.exact_p, 3), round(found.chi2, 3)
    (9, 3, 0.146, 2.083)
    """
    ahead, behind = int((first & ~second).sum()), int((second & ~first).sum())
    apart = ahead + behind
    exact = min(1.0, 2 * float(binom.cdf(min(ahead, behind), apart, 0.5)))
    statistic = max(abs(ahead - behind) - 1, 0) ** 2 / apart if apart else 0.0
    return McNemar(
        int((first & second).sum()),
        ahead,
        behind,
        int((~first & ~second).sum()),
        exact if apart else 1.0,
        statistic,
        float(chi2.sf(statistic, 1)),
    )
