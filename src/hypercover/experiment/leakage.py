"""What image features carry across a split, stated beside the score of a model."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from hypercover.features.chain import Chain
from hypercover.samples.leakage import (
    flattest_band,
    mean_zone_share,
    shared_zone_share,
)
from hypercover.samples.split import Split
from hypercover.scene.scene import Scene

__all__ = ["feature_leakage", "mean_feature_leakage"]


def feature_leakage(chain: Chain, stack: Scene, split: Split) -> dict[str, Any]:
    """Say what the features of a chain bring from training to test pixels.

    Of connected filters, whose reach has no bound, the share of test pixels is
    measured that lie in one flat zone with a training pixel: there they have
    the very same value.  The mean over all features tells splits apart; the
    band that is simplified most is an upper end, which large thresholds
    bring near to all whatever the split.
    """
    facts: dict[str, Any] = {"chain": chain.text, "reach": chain.reach}
    facts |= {"shared_zone": None, "mean_zone": None, "band": None}
    if chain.reach is None:
        values = np.asarray(stack.cube.values)
        flattest = flattest_band(values)
        names = stack.cube.coords["band_name"].values
        facts["band"] = str(names[flattest])
        facts["shared_zone"] = shared_zone_share(split, values[flattest])
        facts["mean_zone"] = mean_zone_share(split, values)
    return facts | {"sentence": _sentence(facts)}


def mean_feature_leakage(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what was said of the same features under several seeds."""
    facts = {key: audits[0][key] for key in ("chain", "reach", "band")}
    for key in ("shared_zone", "mean_zone"):
        shares = [one[key] for one in audits if one[key] is not None]
        facts[key] = fmean(shares) if shares else None
    return facts | {"sentence": _sentence(facts)}


def _sentence(facts: Mapping[str, Any]) -> str:
    """Put what was found into one sentence for people."""
    learnt = f"The features {facts['chain']} were fitted on all pixels, without labels"
    if facts["reach"] == 0:
        return f"{learnt}; they have no spatial reach."
    if facts["shared_zone"] is None:
        return f"{learnt}; they reach {facts['reach']} pixels around each pixel."
    return (
        f"{learnt}, and reach any distance: in the mean over the features "
        f"{_percent(facts['mean_zone'])} of the test pixels lie in one flat zone with a "
        "training pixel, and so have the very same value there; in the most simplified "
        f"feature ({facts['band']}) {_percent(facts['shared_zone'])} do."
    )


def _percent(share: float) -> str:
    """Write a share so that it is never rounded to none or all."""
    text = f"{100 * share:.1f} %"
    if 0 < share < 0.0005:
        return "less than 0.1 %"
    return "more than 99.9 %" if 0.9995 <= share < 1 else text
