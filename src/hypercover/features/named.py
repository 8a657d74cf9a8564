"""Chains of image features that are known by a name."""

from typing import Any

__all__ = ["NAMED", "NWFE_FEATURES", "ROME_AREAS"]

ROME_AREAS = tuple(round(1000 / 0.6 * step) for step in range(1, 11))
"""Ten area thresholds in pixels by the published formula at Quickbird's 0.6 m."""

NAMED: dict[str, list[str | dict[str, Any]]] = {
    "rome": [{"esdap": {"attributes": ["area"], "thresholds": {"area": list(ROME_AREAS)}}}],
    "lecture": ["kpca:5", "esdap:area+std"],
}
"""Each chain as it would stand in an experiment file.

``rome`` makes the 55 features of the Rome scene from its 5 bands (panchromatic
and four pansharpened): 5 × (1 + 10 areas).  The areas that were used have not
been published; these follow the formula.
"""

NWFE_FEATURES = {"lecture": 30}
"""Features that NWFE makes of a chain's, where its name means that as well.

NWFE learns from labelled training pixels, so a chain, which sees no label, stops before it.
"""
