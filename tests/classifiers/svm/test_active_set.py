import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hypercover.classifiers.svm.smo import solve, solve_folds

COSTS = (0.5, 1.0, 30.0, 1e3, 1e5)


def pair(n=(70, 50), gamma=0.3, apart=0.7, seed=0):
    """A pair of classes: kernel less one, signs."""
    rng = np.random.default_rng(seed)
    signs = np.repeat([1.0, -1.0], n)
    X = rng.normal(size=(len(signs), 4)) + apart * (signs[:, np.newaxis] > 0)
    return np.expm1(-gamma * cdist(X, X, "sqeuclidean")).astype(np.float32), signs


def dealt(n_samples, n_folds=4):
    """All samples, then the training part of each fold."""
    places = np.arange(n_samples) % n_folds
    return np.array([places != fold for fold in (-1, *range(n_folds))])


def along_costs(kernel, insides, signs, factors=None, costs=COSTS, tolerance=1e-3):
    """Solve all folds along rising C; return weights, thresholds, steps per C."""
    n_rows = len(insides)
    factors = np.ones((n_rows, 2)) if factors is None else factors
    betas, gradients = np.zeros(insides.shape), np.tile(-signs, (n_rows, 1))
    thresholds, found, before = np.zeros(n_rows), [], 0.0
    for cost in costs:
        steps, failures = solve_folds(
            kernel,
            insides,
            signs,
            cost,
            before,
            factors,
            gradients,
            betas,
            thresholds,
            tolerance,
        )
        assert failures == 0
        found.append((betas.copy(), thresholds.copy(), steps))
        before = cost
    return found


def bounds(signs, rise, fall):
    return np.where(signs > 0, 0.0, -fall), np.where(signs > 0, rise, 0.0)


def alone(kernel, signs, rise, fall, tolerance=1e-3):
    """Solve one problem from nothing, with no samples left out; return weights, threshold."""
    beta, gradient = np.zeros(len(signs)), -signs
    inside = np.ones(len(signs), dtype=bool)
    threshold, steps = solve(
        kernel,
        inside,
        gradient,
        beta,
        *bounds(signs, rise, fall),
        0.0,
        1e30,
        tolerance,
    )
    assert steps >= 0
    return beta, threshold


def objective(kernel, signs, beta):
    return 0.5 * beta @ kernel.astype(float) @ beta - signs @ beta


FACTORS = {
    "none": np.ones((5, 2)),
    "uneven": np.tile([0.3, 2.0], (5, 1)),
    "other in each fold": 1.0 + np.random.default_rng(0).random((5, 2)),
}


@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS)
@pytest.mark.parametrize("gamma", [1e-4, 0.3, 20.0])
def test_every_fold_and_cost_is_solved_as_from_nothing(factors, gamma):
    kernel, signs = pair(gamma=gamma)
    insides = dealt(len(signs))
    for cost, (betas, thresholds, _) in zip(
        COSTS, along_costs(kernel, insides, signs, factors, tolerance=1e-6), strict=True
    ):
        for row, inside in enumerate(insides):
            rise, fall = cost * factors[row]
            part = np.ascontiguousarray(kernel[np.ix_(inside, inside)])
            beta, threshold = alone(part, signs[inside], rise, fall, 1e-6)
            lower, upper = bounds(signs, rise, fall)
            assert (betas[row][~inside] == 0).all()
            assert ((lower <= betas[row]) & (betas[row] <= upper)).all()
            assert abs(betas[row].sum()) <= 1e-11 * cost * len(signs)
            mine = betas[row][inside]
            room = 1e-6 * np.abs(beta).sum()
            assert (
                abs(
                    objective(part, signs[inside], mine)
                    - objective(part, signs[inside], beta)
                )
                <= room
            )
            # The same decisions, not only the same objective; a threshold between
            # bounds alone may lie anywhere within them.
            free = ((lower[inside] < beta) & (beta < upper[inside])).any()
            said, meant = part @ mine, part @ beta
            np.testing.assert_allclose(said - said[0], meant - meant[0], atol=2e-3)
            if free:
                np.testing.assert_allclose(
                    said - thresholds[row], meant - threshold, atol=2e-3
                )


def test_a_fold_without_a_class_has_no_weight():
    kernel, signs = pair()
    insides = dealt(len(signs))
    insides[2] = signs > 0
    insides[3] = signs < 0
    for betas, _, _ in along_costs(kernel, insides, signs):
        assert (betas[2:4] == 0).all()
        assert (betas[[0, 1, 4]] != 0).any(axis=1).all()


def test_what_is_left_out_may_be_most_of_the_weight():
    """All support vectors of one side go at once; the weights must still sum to zero."""
    kernel, signs = pair(apart=1.5)
    (first, *_), *_ = along_costs(kernel, dealt(len(signs)), signs)
    insides = dealt(len(signs), 2)
    insides[1] = (first[0] <= 0) | (np.arange(len(signs)) == np.argmax(first[0]))
    insides[2] = first[0] == 0
    for cost, (betas, _, _) in zip(COSTS, along_costs(kernel, insides, signs), strict=True):
        for row, inside in enumerate(insides):
            assert abs(betas[row].sum()) <= 1e-11 * cost * len(signs)
            part = np.ascontiguousarray(kernel[np.ix_(inside, inside)])
            beta, _ = alone(part, signs[inside], cost, cost)
            mine, theirs = (
                objective(part, signs[inside], each) for each in (betas[row][inside], beta)
            )
            assert mine == pytest.approx(theirs, abs=1e-3 * max(np.abs(beta).sum(), 1))


def test_a_solution_that_no_cost_bounds_is_that_of_every_larger_cost():
    kernel, signs = pair(gamma=50.0)
    costs = (10.0, 100.0, 1e4)
    (first, thresholds, steps), *later = along_costs(
        kernel, dealt(len(signs)), signs, costs=costs
    )
    assert steps > 0
    assert np.abs(first).max() < 10.0
    for betas, again, more in later:
        assert more == 0
        np.testing.assert_array_equal(betas, first)
        np.testing.assert_array_equal(again, thresholds)


def test_a_fold_that_the_cost_bounds_goes_on_where_others_stand_still():
    """The clean half is settled at once; one mistaken label keeps a fold from it."""
    kernel, signs = pair(n=(30, 30), gamma=0.2, apart=8.0)
    mistaken = kernel.copy()
    mistaken[31, :], mistaken[:, 31] = kernel[0, :], kernel[:, 0]
    mistaken[31, 31] = mistaken[0, 31] = mistaken[31, 0] = 0.0
    insides = np.ones((3, 60), dtype=bool)
    insides[1, 31] = False
    (clean, *_), (later, *_) = along_costs(mistaken, insides, signs, costs=(5.0, 500.0))
    np.testing.assert_array_equal(clean[1], later[1])
    assert clean[2, 31] == -5.0
    assert later[2, 31] == -500.0


@pytest.mark.parametrize("guess", [-1e6, -2.0, 0.0, 2.0, 1e6])
def test_a_bad_guess_costs_time_and_nothing_else(guess):
    kernel, signs = pair()
    expected, threshold = alone(kernel, signs, 3.0, 3.0)
    beta, gradient = np.zeros(len(signs)), -signs
    inside = np.ones(len(signs), dtype=bool)
    found, steps = solve(
        kernel, inside, gradient, beta, *bounds(signs, 3.0, 3.0), guess, 0.05, 1e-3
    )
    assert steps > 0
    assert found == pytest.approx(threshold, abs=2e-3)
    np.testing.assert_allclose(kernel @ beta, kernel @ expected, atol=5e-3)
    np.testing.assert_allclose(gradient, kernel.astype(float) @ beta - signs, atol=1e-9)


def test_without_free_weights_the_threshold_is_in_the_middle():
    kernel, signs = pair(n=(20, 20))
    beta, threshold = alone(kernel, signs, 1e-3, 1e-3)
    assert (np.abs(beta) == 1e-3).all()
    gradient = kernel.astype(float) @ beta - signs
    # All may only fall on the one side and only rise on the other.
    middle = 0.5 * (gradient[signs > 0].max() + gradient[signs < 0].min())
    assert threshold == pytest.approx(middle)
