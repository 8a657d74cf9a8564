from itertools import combinations

import numpy as np
import pytest

from hypercover.classifiers.svm.svm_cross_validation import (
    CVProblem,
    PairSolutions,
    predict_held_out,
    solve_pair,
)

COSTS = (0.5, 5.0, 50.0)


@pytest.fixture
def problem(clouds):
    X, y = clouds((30, 25, 20, 15), 3, 0.7)
    places = np.random.default_rng(0).integers(0, 3, len(y))
    folds = [(np.flatnonzero(places != k), np.flatnonzero(places == k)) for k in range(3)]
    # One fold lacks the third class.
    folds[1] = np.setdiff1d(folds[1][0], np.flatnonzero(y == 3)), folds[1][1]
    return CVProblem.of(X, y, folds)


def voted(problem, gamma, machines, k, fold, cost):
    """Vote as LIBSVM does, sample by sample, pair by pair."""
    features, spans = problem.samples.features, problem.samples.spans
    winners = []
    for row in features[spans[k]][problem.test_mask[fold, spans[k]]]:
        votes = np.zeros(len(spans), dtype=int)
        for i, j in combinations(np.flatnonzero(problem.present[fold]), 2):
            machine = machines[i, j]
            own = np.vstack([features[spans[i]], features[spans[j]]])
            weights = np.r_[machine.first[cost, fold], machine.second[cost, fold]]
            said = np.exp(-gamma * ((own - row) ** 2).sum(axis=1)) @ weights
            votes[i if said > machine.thresholds[cost, fold] else j] += 1
        known = np.flatnonzero(problem.present[fold])
        winners.append(known[votes[known].argmax()])
    return winners


@pytest.mark.parametrize("gamma", [0.05, 1.0])
def test_votes_are_those_of_every_pair_counted_one_by_one(problem, gamma):
    kernels = problem.kernels(gamma)
    machines = {
        pair: solve_pair(
            problem.samples, kernels, problem.train_mask, pair, COSTS, np.ones((4, 2)), 1e-3
        )
        for pair in combinations(range(4), 2)
    }
    for k in range(4):
        held = [
            np.flatnonzero(rows) for rows in problem.test_mask[:, problem.samples.spans[k]]
        ]
        found = predict_held_out(kernels, machines, k, held, problem.present)
        for fold, winners in enumerate(found):
            assert winners.shape == (3, len(held[fold]))
            for cost in range(3):
                expected = voted(problem, gamma, machines, k, fold, cost)
                assert winners[cost].tolist() == expected


def constant(first, second, threshold):
    """A machine without weights: for its first class where the threshold is below 0."""
    return PairSolutions(
        np.zeros((1, 1, first)),
        np.zeros((1, 1, second)),
        np.array([[threshold]]),
        np.zeros(1),
        np.zeros(1, dtype=int),
        0,
    )


@pytest.mark.parametrize(
    ("thresholds", "winner"),
    [
        ((-1.0, -1.0, -1.0), 0),
        ((1.0, 1.0, -1.0), 1),
        ((1.0, 1.0, 1.0), 2),
        ((-1.0, 1.0, -1.0), 0),  # a vote each: the first class wins
        ((0.0, 0.0, 0.0), 2),  # nothing said is for the second class, as in LIBSVM
    ],
)
def test_who_wins(clouds, thresholds, winner):
    X, y = clouds((4, 4, 4), 2, 1.0)
    fold = np.arange(12) % 4
    problem = CVProblem.of(X, y, [(np.flatnonzero(fold), np.flatnonzero(fold == 0))])
    pairs = combinations(range(3), 2)
    machines = {
        pair: constant(4, 4, value) for pair, value in zip(pairs, thresholds, strict=True)
    }
    held = [np.array([0, 2])]
    (found,) = predict_held_out(problem.kernels(1.0), machines, 1, held, problem.present)
    assert found.tolist() == [[winner, winner]]


def test_a_fold_that_holds_nothing_of_a_class_predicts_nothing(problem):
    kernels = problem.kernels(0.5)
    machines = {
        pair: solve_pair(
            problem.samples, kernels, problem.train_mask, pair, COSTS, np.ones((4, 2)), 1e-3
        )
        for pair in combinations(range(4), 2)
    }
    held = [np.array([1]), np.array([], dtype=int), np.array([0, 3])]
    found = predict_held_out(kernels, machines, 2, held, problem.present)
    assert [winners.shape for winners in found] == [(3, 1), (3, 0), (3, 2)]


def test_sides_that_nearly_cancel_are_added_in_double_precision(clouds):
    """Each says about a hundred million, the difference is about ten."""
    X, y = clouds((60, 60), 2, 0.0)
    X[:30] += 4.5
    held, other = np.arange(30), np.arange(30, 120)
    problem = CVProblem.of(X, y, [(other, held)])
    kernels = problem.kernels(0.5)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, 120) * 1e7 / 3
    weights[:30] = 0.0
    weights[60:] *= -weights[:60].sum() / weights[60:].sum()
    said = kernels.block(0, 1)[:30].astype(float) @ weights
    between = np.sort(said)[:-1] + np.diff(np.sort(said)) / 2
    between = between[np.diff(np.sort(said)) > 0.01]
    shape = len(between), 1, 60
    machine = PairSolutions(
        np.broadcast_to(weights[:60], shape),
        np.broadcast_to(weights[60:], shape),
        between[:, np.newaxis],
        np.zeros(len(between)),
        np.zeros(len(between), dtype=int),
        0,
    )
    (found,) = predict_held_out(kernels, {(0, 1): machine}, 0, [held], problem.present)
    np.testing.assert_array_equal(found, said < between[:, np.newaxis])
