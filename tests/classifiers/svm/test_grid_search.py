"""`KernelGridSearch` against scikit-learn's `GridSearchCV`, cell by cell."""

import matplotlib
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ParameterGrid,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.svm import SVC

from hypercover.classifiers.svm.grid_search import KernelGridSearch, cv_results
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import CallError, SplitError
from hypercover.features.nwfe import NWFE

GRID = {"C": [1, 16, 128], "gamma": [0.02, 0.2, "scale", "auto"]}


@pytest.fixture
def samples(clouds):
    return clouds((70, 60, 50), 5, 0.7)


def four():
    return StratifiedKFold(4, shuffle=True, random_state=1)


def compared(estimator, grid, X, y, cv, most=1):
    """Search with both; check what both have against each other, and return both."""
    mine = KernelGridSearch(estimator, grid, cv=cv).fit(X, y)
    theirs = GridSearchCV(estimator, grid, cv=cv).fit(X, y)
    assert mine.n_splits_ == theirs.n_splits_
    assert mine.cv_results_["params"] == theirs.cv_results_["params"]
    assert set(mine.cv_results_) <= set(theirs.cv_results_)
    for fold in range(mine.n_splits_):
        name = f"split{fold}_test_score"
        off = np.abs(mine.cv_results_[name] - theirs.cv_results_[name]).max()
        assert off <= 1.01 * most * mine.n_splits_ / len(y)
    return mine, theirs


def agreed(mine, theirs, left_out=None):
    """Check that all scores are the same, and so is what follows from them."""
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(mine.cv_results_[name], theirs.cv_results_[name])
    ranks = [found.cv_results_["rank_test_score"] for found in (mine, theirs)]
    np.testing.assert_array_equal(*ranks)
    assert mine.best_index_ == theirs.best_index_
    assert mine.best_params_ == theirs.best_params_ | (left_out or {})
    assert mine.best_score_ == pytest.approx(theirs.best_score_)


def test_an_svc_is_searched_as_by_scikit_learn(samples):
    X, y = samples
    grid = {"C": [1, 16, 128], "gamma": [0.02, 0.2, 1.0, "auto"]}
    mine, theirs = compared(SVC(class_weight={1: 2.0}, tol=1e-6), grid, X, y, four())
    agreed(mine, theirs)
    np.testing.assert_array_equal(mine.predict(X), theirs.predict(X))
    assert mine.score(X, y) == theirs.score(X, y)
    assert mine.best_estimator_.get_params() == theirs.best_estimator_.get_params()


def test_a_classifier_that_scales_differs_by_what_is_scaled_alone(samples):
    """Scaling is fitted once, so that a sample near a border may change its side."""
    X, y = samples
    mine, theirs = compared(SVMClassifier(), GRID, X * 50 + 3, y, four(), most=3)
    means = [found.cv_results_["mean_test_score"] for found in (mine, theirs)]
    np.testing.assert_allclose(*means, atol=0.012)
    assert theirs.cv_results_["rank_test_score"][mine.best_index_] <= 2
    assert isinstance(mine.best_estimator_, SVMClassifier)


def test_a_reduction_is_fitted_on_each_fold_as_by_scikit_learn(samples):
    X, y = samples
    estimator = SVMClassifier(reduction=NWFE(2), class_weight="balanced")
    agreed(*compared(estimator, GRID, X * 50 + 3, y, four()))


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.1])
def test_what_the_grid_leaves_out_stays_as_the_estimator_has_it(samples, gamma):
    X, y = samples
    X = X / X.std()
    mine = KernelGridSearch(SVC(gamma=gamma), {"C": [1, 16]}, cv=four()).fit(X, y)
    theirs = GridSearchCV(SVC(gamma=gamma), {"C": [1, 16]}, cv=four()).fit(X, y)
    agreed(mine, theirs, {"gamma": gamma})
    mine = KernelGridSearch(SVC(C=16.0), {"gamma": [gamma]}, cv=4, refit=False).fit(X, y)
    assert mine.cv_results_["params"] == [{"C": 16.0, "gamma": gamma}]


def test_by_default_costs_span_the_decades(samples):
    X, y = samples
    search = KernelGridSearch(cv=2, refit=False).fit(X, y)
    costs = [cell["C"] for cell in search.cv_results_["params"]]
    assert costs == [1.0, 10.0, 100.0, 1e3, 1e4]
    assert {cell["gamma"] for cell in search.cv_results_["params"]} == {"scale"}


@pytest.mark.parametrize(
    "cv",
    [
        ShuffleSplit(3, test_size=0.3, random_state=0),
        KFold(5, shuffle=True, random_state=2),
        [(np.arange(0, 180, 2), np.arange(1, 90, 2)), (np.arange(90), np.arange(95, 180))],
    ],
    ids=["shuffled", "folds", "pairs"],
)
def test_folds_come_from_a_splitter_or_as_they_are(samples, cv):
    X, y = samples
    order = np.random.default_rng(0).permutation(len(y))
    mine, theirs = compared(SVC(), {"C": [2.0], "gamma": [0.2]}, X[order], y[order], cv)
    agreed(mine, theirs)


def test_folds_may_heed_groups(samples):
    X, y = samples
    groups = np.random.default_rng(0).integers(0, 9, len(y))
    grid = {"C": [1.0, 8.0], "gamma": [0.2]}
    mine = KernelGridSearch(SVC(), grid, cv=GroupKFold(3)).fit(X, y, groups)
    theirs = GridSearchCV(SVC(), grid, cv=GroupKFold(3)).fit(X, y, groups=groups)
    agreed(mine, theirs)


def test_a_number_of_folds_is_stratified_and_seeded(samples):
    X, y = samples
    grid = {"C": [1.0, 8.0], "gamma": [0.2]}
    counted = [
        KernelGridSearch(SVC(), grid, cv=cv, random_state=seed).fit(X, y).cv_results_
        for cv, seed in ((5, None), (np.int64(5), 0), (5, 3))
    ]
    by_hand = StratifiedKFold(5, shuffle=True, random_state=0)
    expected = KernelGridSearch(SVC(), grid, cv=by_hand).fit(X, y).cv_results_
    for fold in range(5):
        name = f"split{fold}_test_score"
        np.testing.assert_array_equal(counted[0][name], expected[name])
        np.testing.assert_array_equal(counted[1][name], expected[name])
    names = [f"split{fold}_test_score" for fold in range(5)]
    assert any((counted[2][name] != expected[name]).any() for name in names)


def test_without_a_last_fit_there_is_nothing_to_predict_with(samples):
    X, y = samples
    search = KernelGridSearch(SVC(), {"C": [1.0]}, cv=3, refit=False).fit(X, y)
    assert search.best_params_ == {"C": 1.0, "gamma": "scale"}
    for ask in (search.predict, search.predict_proba):
        with pytest.raises(NotFittedError):
            ask(X)


def test_the_best_classifier_predicts_windows_too(samples):
    X, y = samples
    search = KernelGridSearch(param_grid=GRID, cv=3).fit(X, y)
    windows = np.broadcast_to(X[:, :, None, None], (*X.shape, 3, 3))
    again = KernelGridSearch(param_grid=GRID, cv=3).fit(windows, y)
    assert again.best_params_ == search.best_params_
    np.testing.assert_array_equal(search.predict(windows), search.predict(X))
    shares = search.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(search.classes_[shares.argmax(axis=1)], search.predict(X))
    assert search.score(X, y) == np.mean(search.predict(X) == y)
    assert search.n_features_in_ == 5


def test_it_is_an_estimator_like_others(samples):
    X, y = samples
    search = KernelGridSearch(SVMClassifier(C=3.0), {"C": [1.0, 4.0]}, cv=3, n_jobs=1)
    assert is_classifier(search)
    copy = clone(search)
    assert copy.estimator is not search.estimator
    assert copy.get_params()["estimator__C"] == 3.0
    copy.set_params(estimator__C=5.0, cv=4, param_grid={"gamma": [0.1]})
    assert copy.fit(X, y).best_params_ == {"C": 5.0, "gamma": 0.1}
    assert copy.n_splits_ == 4
    assert search.estimator.C == 3.0
    assert not hasattr(search, "cv_results_")
    assert (cross_val_score(search, X, y, cv=2) > 0.5).all()


def test_rows_and_times_are_there(samples):
    X, y = samples
    search = KernelGridSearch(SVC(), GRID, cv=3).fit(X, y)
    assert len(search.rows_) == len(GRID["gamma"])
    assert [row.C for row in search.rows_] == [(1.0, 16.0, 128.0)] * 4
    spent = sum(row.seconds.sum() for row in search.rows_)
    assert 3 * search.cv_results_["mean_fit_time"].sum() == pytest.approx(spent)
    assert search.wall_time_ > 0
    assert search.refit_time_ > 0


@pytest.mark.parametrize("estimator", [SVC(), SVMClassifier(reduction=NWFE(2))])
def test_progress_rises_to_one_over_all_rows(samples, estimator):
    said = []
    search = KernelGridSearch(
        estimator, GRID, cv=3, refit=False, progress=lambda share, _: said.append(share)
    )
    search.fit(*samples)
    assert said == sorted(said)
    assert said[-1] == pytest.approx(1.0)
    assert said[0] < 0.2


def test_codes_may_be_words(samples):
    X, y = samples
    named = np.array(["", "field", "forest", "meadow"])[y]
    search = KernelGridSearch(SVC(), {"C": [1.0, 8.0]}, cv=3).fit(X, named)
    plain = KernelGridSearch(SVC(), {"C": [1.0, 8.0]}, cv=3).fit(X, y)
    assert search.best_score_ == plain.best_score_
    assert set(search.predict(X)) <= set(named)


def refused(kind, words, X, y, estimator=None, grid=None, **options):
    """Check that a search is refused at once, in one sentence that says these words."""
    search = KernelGridSearch(estimator, grid, **options)
    with pytest.raises(kind, match=words) as found:
        search.fit(X, y)
    assert str(found.value).endswith(".")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"C": []}, "at least one C"),
        ({"gamma": []}, "at least one gamma"),
        ({"C": [1, 10, 1.0]}, "contains a C twice"),
        ({"gamma": ["scale", 0.1, "scale"]}, "contains a gamma twice"),
        ({"C": [1], "degree": [2]}, "got degree;"),
        ({"svc__C": [1]}, "got svc__C;"),
        ({"C": [1, 0]}, "finite number above 0, got 0"),
        ({"C": [np.nan]}, "got nan"),
        ({"C": [np.inf]}, "got inf"),
        ({"C": [True]}, "got True"),
        ({"C": ["10"]}, "got '10'"),
        ({"C": "scale"}, "lists of values"),
        ({"C": 5}, "lists of values"),
        ([{"C": [1]}, {"gamma": [1]}], "lists of values"),
        ({"gamma": [-0.1]}, "got -0.1"),
        ({"gamma": [False]}, "got False"),
        ({"gamma": ["wide"]}, "got 'wide'"),
        ({"gamma": [None]}, "got None"),
    ],
    ids=str,
)
def test_grids_that_cannot_be_searched(samples, grid, words):
    refused(CallError, words, *samples, grid=grid)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LogisticRegression(), "GridSearchCV"),
        (SVC(kernel="linear"), "kernel 'rbf'"),
        ("svm", "got 'svm'"),
        (SVC, "kernel 'rbf'"),
        (SVC(break_ties=True), "break_ties"),
        (SVC(max_iter=100), "max_iter"),
        (SVC(class_weight="even"), "class weights"),
        (SVC(class_weight={1: -2.0}), "class weight"),
    ],
    ids=str,
)
def test_estimators_that_cannot_be_searched(samples, estimator, words):
    refused(CallError, words, *samples, estimator=estimator)


@pytest.mark.parametrize(
    ("cv", "words"),
    [
        (1, "at least 2 folds"),
        (0, "at least 2 folds"),
        (-3, "at least 2 folds"),
        (51, "Class 3 has 50 samples, fewer than the 51 folds"),
        ([], "at least one fold"),
        (None, "number of folds, a splitter or pairs"),
        ("ten", "number of folds, a splitter or pairs"),
        (2.5, "number of folds, a splitter or pairs"),
        ([(np.arange(100), np.arange(50, 120))], "must be disjoint"),
        ([(np.arange(100), np.arange(150, 181))], "from 0 to 179"),
        ([(np.arange(100), [])], "Fold 1"),
        ([(np.arange(60), np.arange(100, 120))], "fewer than two classes"),
    ],
    ids=lambda value: "pairs" if isinstance(value, list) else None,
)
def test_folds_that_cannot_be_used(samples, cv, words):
    refused(SplitError, words, *samples, estimator=SVC(), grid={"C": [1]}, cv=cv)


@pytest.mark.parametrize("estimator", [SVC(), SVMClassifier()], ids=["SVC", "scaled"])
def test_samples_that_cannot_be_searched(samples, estimator):
    X, y = samples
    broken = X.copy()
    broken[5, 2] = np.nan
    for features, classes, words in (
        (broken, y, "NaN or infinite"),
        (X, y[:-1], r"\(179,\)"),
        (X[:, 0], y, r"\(180,\)"),
        (X, np.ones(180), "two classes"),
        (X[:0], y[:0], "two classes"),
        (X.astype(str)[:, :1] + "m", y, "numbers"),
    ):
        refused(CallError, words, features, classes, estimator=estimator)


@pytest.mark.parametrize(("option", "words"), [("n_jobs", "threads"), ("memory", "memory")])
def test_threads_and_memory_that_do_not_suffice(samples, option, words):
    refused(CallError, words, *samples, estimator=SVC(), cv=3, **{option: 0})


def test_results_turn_into_a_table_and_a_plot(samples):
    matplotlib.use("agg")
    search = KernelGridSearch(SVC(), GRID, cv=3, refit=False)
    with pytest.raises(NotFittedError):
        search.to_frame()
    search.fit(*samples)
    table = search.to_frame()
    assert len(table) == 12
    assert table["mean_test_score"].is_monotonic_decreasing
    assert table.loc[0, "param_C"] == search.best_params_["C"]
    axes = search.plot()
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "16", "128"]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        str(g) for g in GRID["gamma"]
    ]
    drawn = axes.images[0].get_array()
    for cell, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        place = GRID["gamma"].index(cell["gamma"]), GRID["C"].index(cell["C"])
        assert drawn[place] == pytest.approx(100 * score)


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
