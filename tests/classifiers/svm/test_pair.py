import numpy as np
import pytest
from sklearn.svm import SVC

from hypercover.classifiers.svm.svm_cross_validation import CVProblem, solve_pair

COSTS = (0.5, 10.0, 1e4 / 3)
GAMMA = 0.3


@pytest.fixture
def problem(clouds):
    X, y = clouds((45, 30, 35), 3, 0.6)
    places = np.arange(len(y)) % 3
    folds = [(np.flatnonzero(places != k), np.flatnonzero(places == k)) for k in range(3)]
    return CVProblem.of(X, y, folds)


def solved(problem, pair=(0, 2), inside=None, costs=COSTS):
    inside = problem.train_mask if inside is None else inside
    factors = np.ones((len(inside) + 1, 2))
    return solve_pair(
        problem.samples, problem.kernels(GAMMA), inside, pair, costs, factors, 1e-5
    )


def test_machines_are_those_of_an_svc_for_the_two_classes(problem):
    machines = solved(problem)
    samples = problem.samples
    spans = samples.spans[0], samples.spans[2]
    own = np.vstack([samples.features[span] for span in spans])
    sides = np.repeat([1, -1], [samples.counts[0], samples.counts[2]])
    assert machines.first.shape == (3, 3, 45)
    assert machines.second.shape == (3, 3, 35)
    for at, cost in enumerate(COSTS):
        for fold in range(3):
            train = np.hstack([problem.train_mask[fold, span] for span in spans])
            svc = SVC(C=cost, gamma=GAMMA, tol=1e-5).fit(own[train], sides[train])
            weights = np.r_[machines.first[at, fold], machines.second[at, fold]]
            assert (weights[~train] == 0).all()
            distances = ((own[:, np.newaxis] - own) ** 2).sum(axis=2)
            said = np.exp(-GAMMA * distances) @ weights - machines.thresholds[at, fold]
            np.testing.assert_allclose(said, svc.decision_function(own), atol=0.01)


def test_weights_have_the_sign_of_their_side_and_keep_their_bounds_to_the_last_digit(
    problem,
):
    machines = solved(problem)
    for at, cost in enumerate(COSTS):
        assert (machines.first[at] >= 0).all()
        assert (machines.second[at] <= 0).all()
        assert machines.first[at].max() == cost
        assert machines.second[at].min() >= -cost
        sums = machines.first[at].sum(axis=1) + machines.second[at].sum(axis=1)
        assert np.abs(sums).max() <= 1e-9 * cost


def test_time_and_steps_are_told_for_every_cost(problem):
    machines = solved(problem)
    assert (machines.seconds > 0).all()
    assert (machines.steps > 0).all()
    assert machines.failures == 0


def test_one_fold_is_solved_without_the_samples_it_leaves_out(problem):
    """Nothing is gained there by all samples first; what is found is the same."""
    among, alone = solved(problem), solved(problem, inside=problem.train_mask[1:2])
    assert (alone.steps < among.steps).all()
    np.testing.assert_allclose(alone.thresholds[:, 0], among.thresholds[:, 1], atol=0.01)
    for side in ("first", "second"):
        mine, theirs = getattr(alone, side)[:2, 0], getattr(among, side)[:2, 1]
        np.testing.assert_allclose(mine, theirs, atol=0.01)
