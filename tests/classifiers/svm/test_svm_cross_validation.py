import logging
import threading
import time

import numpy as np
import pytest

from hypercover.classifiers.svm import svm_cross_validation as module
from hypercover.classifiers.svm.svm_cross_validation import CVProblem, cross_validate_gamma
from hypercover.errors import CallError

# Where every weight is full, the threshold may lie anywhere in an interval: LIBSVM takes
# its middle, unless its sums were rounded.  Those of powers of two are not.
COSTS = (0.125, 1.0, 16.0, 128.0, 1024.0)


def as_the_judge(row, judged):
    """Check hits of every cell and fold, accuracies and support vectors against SVC's."""
    assert np.abs(row.correct - judged.correct).max() <= 1
    total = int(row.counts.sum())
    theirs = judged.correct.sum(axis=1) / total
    # A tenth of a point, or one sample where there are fewer than a thousand.
    assert np.abs(row.accuracy - theirs).max() <= max(1e-3, 1.01 / total)
    assert (
        np.abs(row.n_support - judged.n_support).max() <= 2 + 0.02 * judged.n_support.max()
    )


@pytest.mark.filterwarnings("ignore:.*class_weight.*")
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_every_cell_and_fold_is_as_scikit_learn_has_it(case, judge, weights):
    # Balanced weights are no powers of two.
    costs = COSTS if weights is None else COSTS[1:]
    row = cross_validate_gamma(
        CVProblem.of(case.X, case.y, case.folds),
        gamma=case.gamma,
        C=costs,
        class_weight=weights,
    )
    as_the_judge(row, judge(case.X, case.y, case.folds, case.gamma, costs, weights))
    assert row.counts.tolist() == [len(test) for _, test in case.folds]


def test_weights_of_some_classes(clouds, judge):
    X, y = clouds((60, 40, 30), 4, 0.7)
    folds, weights = by_thirds(y), {1: 0.2, 3: 5.0}
    row = cross_validate_gamma(
        CVProblem.of(X, y, folds), gamma=0.2, C=COSTS, class_weight=weights
    )
    as_the_judge(row, judge(X, y, folds, 0.2, COSTS, weights))


def by_thirds(y):
    places = np.arange(len(y)) % 3
    return [(np.flatnonzero(places != k), np.flatnonzero(places == k)) for k in range(3)]


@pytest.mark.parametrize(
    ("gamma", "C"),
    [(1e-6, (1.0, 1e3, 1e5)), (1e-3, (1e2, 1e4)), (30.0, (1.0, 1e6)), (1e4, (0.125, 1e6))],
)
def test_extreme_cells_are_as_scikit_learn_has_them(clouds, judge, gamma, C):
    """Kernels that are all nearly 1, or nearly 0; decisions that nearly cancel."""
    X, y = clouds((150, 110), 5, 0.3)
    weights = {1: 1.0, 2: 2.0}
    row = cross_validate_gamma(
        CVProblem.of(X, y, by_thirds(y)), gamma=gamma, C=C, class_weight=weights
    )
    judged = judge(X, y, by_thirds(y), gamma, C, weights)
    assert np.abs(row.correct - judged.correct).max() <= 2


def test_what_two_sides_say_is_not_rounded_away(clouds, judge):
    """The sides are of the size of C times the samples, their difference is near 1."""
    X, y = clouds((500, 400), 3, 0.2, seed=3)
    row = cross_validate_gamma(
        CVProblem.of(X, y, by_thirds(y)), gamma=0.01, C=[1e4], class_weight="balanced"
    )
    judged = judge(X, y, by_thirds(y), 0.01, [1e4], "balanced")
    assert np.abs(row.correct - judged.correct).max() <= 3


def test_a_class_that_does_not_train_takes_no_votes(clouds, judge):
    X, y = clouds((40, 40, 40, 3), 4, 1.0)
    folds = by_thirds(y)
    folds[0] = np.setdiff1d(folds[0][0], np.flatnonzero(y == 2)), folds[0][1]
    folds[1] = np.flatnonzero(np.isin(y, [1, 3])), np.flatnonzero(np.isin(y, [2, 4]))
    row = cross_validate_gamma(CVProblem.of(X, y, folds), gamma=0.2, C=COSTS)
    judged = judge(X, y, folds, 0.2, COSTS)
    as_the_judge(row, judged)
    # Neither class that is held out was known.
    assert (row.correct[:, 1] == 0).all()
    np.testing.assert_allclose(row.n_support, judged.n_support, atol=3)


def test_samples_of_a_guard_neither_train_nor_count(clouds, judge):
    X, y = clouds((80, 70), 3, 0.6)
    place = np.random.default_rng(0).permutation(len(y))
    folds = [(place[:60], place[100:130]), (place[70:], place[:40])]
    row = cross_validate_gamma(CVProblem.of(X, y, folds), gamma=0.3, C=COSTS)
    as_the_judge(row, judge(X, y, folds, 0.3, COSTS))
    assert row.counts.tolist() == [30, 40]
    # What lies in the guard may be anything.
    X[place[130:140]] = 50.0
    again = cross_validate_gamma(CVProblem.of(X, y, folds[:1]), gamma=0.3, C=COSTS)
    np.testing.assert_array_equal(again.correct[:, 0], row.correct[:, 0])


def test_one_fold_is_as_that_fold_among_others(clouds):
    X, y = clouds((50, 50, 30), 4, 0.8)
    folds = by_thirds(y)
    row = cross_validate_gamma(CVProblem.of(X, y, folds), gamma=0.2, C=COSTS)
    for fold in range(3):
        alone = cross_validate_gamma(
            CVProblem.of(X, y, folds[fold : fold + 1]), gamma=0.2, C=COSTS
        )
        assert np.abs(alone.correct[:, 0] - row.correct[:, fold]).max() <= 1


def same(first, second):
    np.testing.assert_array_equal(first.correct, second.correct)
    np.testing.assert_array_equal(first.n_support, second.n_support)
    np.testing.assert_array_equal(first.steps, second.steps)


def test_threads_and_memory_change_nothing(case):
    cells = {"gamma": case.gamma, "C": COSTS}
    row = cross_validate_gamma(CVProblem.of(case.X, case.y, case.folds), **cells, n_jobs=1)
    same(
        row,
        cross_validate_gamma(CVProblem.of(case.X, case.y, case.folds), **cells, n_jobs=2),
    )
    largest = int(np.sort(np.unique(case.y, return_counts=True)[1])[-2:].sum())
    least = 2 * 4 * largest**2
    same(
        row,
        cross_validate_gamma(
            CVProblem.of(case.X, case.y, case.folds, memory=least), **cells
        ),
    )
    with pytest.raises(CallError, match="allow more memory"):
        cross_validate_gamma(
            CVProblem.of(case.X, case.y, case.folds, memory=least - 1), **cells
        )


def test_distances_that_are_shared_give_the_same(case):
    problem = CVProblem.of(case.X, case.y, case.folds)
    for gamma in (case.gamma, 3 * case.gamma, case.gamma):
        shared = cross_validate_gamma(problem, gamma=gamma, C=COSTS)
        same(
            shared,
            cross_validate_gamma(
                CVProblem.of(case.X, case.y, case.folds), gamma=gamma, C=COSTS
            ),
        )


def test_costs_come_back_in_the_order_they_were_given(clouds):
    X, y = clouds((50, 50), 3, 0.5)
    row = cross_validate_gamma(CVProblem.of(X, y, by_thirds(y)), gamma=0.3, C=COSTS)
    mixed = [3, 0, 4, 1, 2]
    again = cross_validate_gamma(
        CVProblem.of(X, y, by_thirds(y)), gamma=0.3, C=[COSTS[k] for k in mixed]
    )
    assert tuple(COSTS[k] for k in mixed) == again.C
    np.testing.assert_array_equal(again.correct, row.correct[mixed])
    np.testing.assert_array_equal(again.n_support, row.n_support[mixed])
    np.testing.assert_array_equal(again.steps, row.steps[mixed])
    assert (row.seconds > 0).all()
    assert row.wall_seconds > 0


def test_the_order_of_samples_and_the_codes_change_nothing(clouds):
    X, y = clouds((40, 50, 30), 4, 0.8)
    folds = by_thirds(y)
    row = cross_validate_gamma(CVProblem.of(X, y, folds), gamma=0.2, C=COSTS)
    named = np.array(["", "field", "forest", "meadow"])[y]
    same(row, cross_validate_gamma(CVProblem.of(X, named, folds), gamma=0.2, C=COSTS))
    order = np.random.default_rng(0).permutation(len(y))
    place = np.argsort(order)
    moved = [(place[train], place[test]) for train, test in folds]
    again = cross_validate_gamma(
        CVProblem.of(X[order], y[order], moved), gamma=0.2, C=COSTS
    )
    assert np.abs(again.correct - row.correct).max() <= 1


def test_constant_features_are_no_hindrance(clouds, judge):
    X, y = clouds((40, 40), 3, 0.8)
    padded = np.hstack([X, np.full((len(y), 3), 4.0)])
    row = cross_validate_gamma(CVProblem.of(padded, y, by_thirds(y)), gamma=0.3, C=COSTS)
    as_the_judge(row, judge(X, y, by_thirds(y), 0.3, COSTS))
    nothing = cross_validate_gamma(
        CVProblem.of(np.ones((80, 3)), y, by_thirds(y)), gamma=0.3, C=COSTS
    )
    theirs = judge(np.ones((80, 3)), y, by_thirds(y), 0.3, COSTS)
    np.testing.assert_array_equal(nothing.correct, theirs.correct)


def test_the_same_samples_with_other_labels(clouds, judge, caplog):
    X, y = clouds((60, 60), 3, 0.6)
    X = np.repeat(X[::4], 4, axis=0)
    y = np.random.default_rng(0).permutation(y)
    row = cross_validate_gamma(CVProblem.of(X, y, by_thirds(y)), gamma=0.5, C=(*COSTS, 1e6))
    judged = judge(X, y, by_thirds(y), 0.5, (*COSTS, 1e6))
    # Machines that cannot tell samples apart may split weights among them as they like.
    assert np.abs(row.correct - judged.correct).max() <= 2
    assert not caplog.records


def test_two_samples_are_enough():
    X, y = np.array([[0.0], [1.0], [0.1]]), np.array([1, 2, 1])
    folds = [(np.array([0, 1]), np.array([2]))]
    row = cross_validate_gamma(CVProblem.of(X, y, folds), gamma=1.0, C=[0.1, 100.0])
    assert row.correct.tolist() == [[1], [1]]
    assert row.n_support.tolist() == [[2], [2]]


def test_one_sample_against_hundreds(clouds, judge):
    X, y = clouds((400, 2), 3, 2.0)
    folds = [(np.arange(401), np.array([401])), (np.r_[:200, 401], np.r_[200:401])]
    row = cross_validate_gamma(
        CVProblem.of(X, y, folds), gamma=0.2, C=COSTS, class_weight="balanced"
    )
    as_the_judge(row, judge(X, y, folds, 0.2, COSTS, "balanced"))


@pytest.mark.parametrize("wrong", [0, -1.0, np.nan, np.inf, True, "1"])
def test_cells_that_do_not_exist(clouds, wrong):
    X, y = clouds((9, 9), 2, 1.0)
    for cell in ({"gamma": wrong, "C": [1.0]}, {"gamma": 1.0, "C": [1.0, wrong]}):
        with pytest.raises(CallError, match="must be a finite number above 0"):
            cross_validate_gamma(CVProblem.of(X, y, by_thirds(y)), **cell)
    with pytest.raises(CallError, match="at least one C"):
        cross_validate_gamma(CVProblem.of(X, y, by_thirds(y)), gamma=1.0, C=[])


@pytest.mark.parametrize("weights", ["even", {1: 0.0}, {1: -1.0}, {2: "much"}, 3.0])
def test_class_weights_that_are_none(clouds, weights):
    X, y = clouds((9, 9), 2, 1.0)
    with pytest.raises(CallError, match="class weight"):
        cross_validate_gamma(
            CVProblem.of(X, y, by_thirds(y)), gamma=1.0, C=[1.0], class_weight=weights
        )


def test_progress_rises_to_one(clouds):
    said = []
    X, y = clouds((20, 20, 20, 20), 3, 0.8)
    cross_validate_gamma(
        CVProblem.of(X, y, by_thirds(y)),
        gamma=0.3,
        C=[1.0],
        progress=lambda *words: said.append(words),
    )
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert said[0][1] == "1 of 6 pairs of classes"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_what_is_stopped_leaves_no_thread_and_begins_no_pair(clouds, monkeypatch, stop):
    begun = []

    def slow(*_):
        begun.append(threading.current_thread())
        time.sleep(0.05)
        raise stop

    monkeypatch.setattr(module, "solve_pair", slow)
    X, y = clouds((6,) * 10, 2, 1.0)
    with pytest.raises(stop):
        cross_validate_gamma(CVProblem.of(X, y, by_thirds(y)), gamma=1.0, C=[1.0], n_jobs=2)
    assert len(begun) < 10
    assert not any(thread.is_alive() for thread in begun)


def test_a_machine_that_does_not_settle_is_told(clouds, monkeypatch, caplog):
    X, y = clouds((20, 20), 2, 0.5)
    solve = module.solve_pair

    def unsettled(*task):
        found = solve(*task)
        return type(found)(**{**vars(found), "failures": 2})

    monkeypatch.setattr(module, "solve_pair", unsettled)
    with caplog.at_level(logging.WARNING):
        cross_validate_gamma(CVProblem.of(X, y, by_thirds(y)), gamma=1.0, C=[1.0])
    assert "2 SVMs did not converge" in caplog.text
