import numpy as np
from sklearn.model_selection import GridSearchCV, ParameterGrid, PredefinedSplit
from sklearn.svm import SVC

from hypercover.search.results import cv_results


def test_results_are_laid_out_as_scikit_learn_lays_them_out(clouds):
    X, y = clouds((30, 30), 3, 0.6)
    grid = {"C": [1.0, 10.0], "gamma": ["scale", 0.3, 2.0]}
    theirs = GridSearchCV(SVC(), grid, cv=PredefinedSplit(np.arange(60) % 4)).fit(X, y)
    scores = np.stack(
        [theirs.cv_results_[f"split{fold}_test_score"] for fold in range(4)], axis=1
    )
    mine = cv_results(list(ParameterGrid(grid)), scores, np.arange(6.0))
    assert set(mine) <= set(theirs.cv_results_)
    left_out = {"std_fit_time", "mean_score_time", "std_score_time"}
    assert set(theirs.cv_results_) - set(mine) == left_out
    for name in set(mine) - {"mean_fit_time"}:
        np.testing.assert_array_equal(mine[name], theirs.cv_results_[name])
        assert type(mine[name]) is type(theirs.cv_results_[name])
    np.testing.assert_allclose(mine["mean_fit_time"], np.arange(6) / 4)


def test_cells_that_tie_share_the_better_rank():
    cells = [{"C": C, "gamma": 1.0} for C in (1.0, 2.0, 3.0, 4.0)]
    scores = np.array([[0.5, 0.5], [0.9, 0.8], [0.8, 0.9], [0.1, 0.2]])
    ranks = cv_results(cells, scores, np.zeros(4))["rank_test_score"]
    assert ranks.tolist() == [3, 1, 1, 4]
