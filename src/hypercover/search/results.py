"""The results of a search as scikit-learn reports them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

__all__ = ["cv_results"]


def cv_results(
    cells: Sequence[Mapping[str, Any]],
    scores: npt.NDArray[np.float64],
    seconds: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """Return ``cv_results_`` as GridSearchCV names its parts.

    Parameters
    ----------
    cells : parameters of each cell
    scores : array (cell, fold)
    seconds : array (cell,)
        Processor time of all folds of a cell.
    """
    means = scores.mean(axis=1)
    results: dict[str, Any] = {
        "mean_fit_time": seconds / scores.shape[1],
        "params": [dict(cell) for cell in cells],
    }
    for name in ("C", "gamma"):
        values = np.ma.masked_array(np.empty(len(cells), dtype=object), mask=False)
        values[:] = [cell[name] for cell in cells]
        results[f"param_{name}"] = values
    for fold, column in enumerate(scores.T):
        results[f"split{fold}_test_score"] = column
    results["mean_test_score"] = means
    results["std_test_score"] = scores.std(axis=1)
    results["rank_test_score"] = rankdata(-means, method="min").astype(np.int32)
    return results
