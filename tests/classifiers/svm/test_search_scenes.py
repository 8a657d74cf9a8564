"""Cells of real scenes against scikit-learn's SVC on the same folds."""

import numpy as np
import pytest
from scipy.io import loadmat
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hypercover.classifiers.svm.svm_cross_validation import CVProblem, cross_validate_gamma


@pytest.fixture(scope="module")
def stand_in(data_folder):
    """All labelled pixels of the Indian Pines stand-in, standardised, with their classes."""
    folder = data_folder / "indian_pines"
    labels = loadmat(folder / "Indian_pines_gt.mat")["indian_pines_gt"]
    path = data_folder / "derived" / "indian_pines_rank37_reconstruction.npz"
    with np.load(path) as opened:
        spectra = opened["cube"][labels > 0].astype(float)
    return StandardScaler().fit_transform(spectra), labels[labels > 0]


def compared(X, y, n_folds, gamma, costs):
    """Check the accuracy of every cell to a tenth of a point, and of every fold to more."""
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    folds = list(splitter.split(X, y))
    row = cross_validate_gamma(CVProblem.of(X, y, folds), gamma=gamma, C=costs)
    for place, cost in enumerate(costs):
        hits = []
        for train, test in folds:
            svc = SVC(C=cost, gamma=gamma, cache_size=1000).fit(X[train], y[train])
            hits.append(np.count_nonzero(svc.predict(X[test]) == y[test]))
        assert row.accuracy[place] == pytest.approx(sum(hits) / len(y), abs=1e-3)
        assert np.abs(row.correct[place] - hits).max() <= 2 + 0.001 * len(y) / n_folds


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize(
    "gamma", [pytest.param(0.25 / 200, marks=pytest.mark.slow), 4 / 200]
)
def test_a_third_of_the_stand_in(stand_in, gamma):
    X, y = stand_in
    compared(X[::3], y[::3], 3, gamma, (1.0, 100.0, 10_000.0))


@pytest.mark.slow
def test_the_whole_stand_in_in_ten_folds(stand_in):
    compared(*stand_in, 10, 1 / 200, (1.0, 1000.0))
