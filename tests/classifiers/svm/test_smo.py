from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.svm import SVC

from hypercover.classifiers.svm.smo import minimise


def less_one(X, gamma):
    """The kernel less one, as the search makes it."""
    return np.expm1(-gamma * cdist(X, X, "sqeuclidean")).astype(np.float32)


def solved(kernel, signs, C, tolerance=1e-3):
    """Solve from nothing; return weights, gradient and the extremes that were told."""
    signs = np.asarray(signs, dtype=float)
    beta, gradient = np.zeros(len(signs)), -signs
    lower, upper = np.where(signs > 0, 0.0, -C), np.where(signs > 0, C, 0.0)
    _, least, greatest = minimise(kernel, gradient, beta, lower, upper, tolerance)
    return beta, gradient, least, greatest


def objective(kernel, signs, beta):
    return 0.5 * beta @ kernel.astype(float) @ beta - signs @ beta


def by_enumeration(kernel, signs, C):
    """Least objective over every way to put weights at 0, at C, or free between them."""
    n, best = len(signs), 0.0
    kernel = kernel.astype(float) + 1.0
    for states in product((0, 1, 2), repeat=n):
        states = np.array(states)
        beta, free = np.where(states == 1, C * signs, 0.0), np.flatnonzero(states == 2)
        m = len(free)
        system = np.ones((m + 1, m + 1))
        system[:m, :m], system[m, m] = kernel[np.ix_(free, free)], 0.0
        wanted = np.append(signs[free] - kernel[free] @ beta, -beta.sum())
        beta[free] = np.linalg.lstsq(system, wanted, rcond=1e-9)[0][:m]
        inside = (beta * signs >= -1e-9 * C).all() and (
            beta * signs <= C * (1 + 1e-9)
        ).all()
        if inside and abs(beta.sum()) <= 1e-9 * C:
            best = min(best, objective(kernel - 1.0, signs, beta))
    return best


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("distance", [1e-3, 0.5, 30.0])
def test_two_samples_share_a_weight_in_closed_form(C, distance):
    kernel = less_one(np.array([[0.0], [distance]]), 1.0)
    beta, *_ = solved(kernel, [1, -1], C, 1e-9)
    expected = min(C, -1.0 / float(kernel[0, 1]))
    np.testing.assert_allclose(beta, [expected, -expected], rtol=1e-6)


@pytest.mark.parametrize("gamma", [1e-3, 0.3, 5.0])
def test_the_corners_of_a_square_have_equal_weights(gamma):
    X = np.array([[0.0, 0], [1, 1], [0, 1], [1, 0]])
    signs = np.array([1.0, 1, -1, -1])
    side, diagonal = np.exp(-gamma), np.exp(-2 * gamma)
    beta, *_ = solved(less_one(X, gamma), signs, 1e9, 1e-9)
    # Both classes have one weight w: w (1 + diagonal − 2 side) = 1.
    np.testing.assert_allclose(beta * signs, 1 / (1 + diagonal - 2 * side), rtol=1e-3)


def test_every_weight_is_full_where_C_is_small():
    X = np.random.default_rng(0).normal(size=(20, 3))
    signs = np.repeat([1.0, -1.0], 10)
    beta, *_ = solved(less_one(X, 0.5), signs, 1e-4)
    assert (beta == 1e-4 * signs).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("C", [0.05, 1.0, 100.0, 1e5])
@pytest.mark.parametrize("kind", ["apart", "constant", "the same", "far"])
def test_no_way_to_bound_the_weights_is_better(seed, C, kind):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(6, 2))
    X[3:5] = X[:2] if kind == "the same" else X[3:5]
    X = np.ones_like(X) if kind == "constant" else X
    kernel = less_one(X, 1e4 if kind == "far" else 0.4)
    signs = np.array([1.0, 1, 1, -1, -1, -1])
    beta, *_ = solved(kernel, signs, C, 1e-7)
    found, best = objective(kernel, signs, beta), by_enumeration(kernel, signs, C)
    assert found == pytest.approx(best, rel=1e-5, abs=1e-6)


corners = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.booleans()),
    min_size=2,
    max_size=60,
)


@settings(max_examples=150)
@given(
    corners,
    st.sampled_from([1e-6, 1e-2, 1.0, 1e2, 1e4, 1e6]),
    st.sampled_from([1e-9, 1e-5, 1e-2, 0.5, 10.0, 1e5]),
)
def test_what_was_found_is_a_minimum_within_the_bounds(samples, C, gamma):
    """Many samples are the same here, and many of these are of both classes."""
    X = np.array([sample[:2] for sample in samples], dtype=float)
    signs = np.array([1.0 if sample[2] else -1.0 for sample in samples])
    kernel = less_one(X, gamma)
    beta, gradient, least, greatest = solved(kernel, signs, C)
    assert (beta * signs >= 0).all()
    assert (beta * signs <= C).all()
    assert abs(beta.sum()) <= 1e-12 * C * len(signs)
    true = kernel.astype(float) @ beta - signs
    np.testing.assert_allclose(gradient, true, atol=1e-10 * max(C, 1) * len(signs))
    rises, falls = beta < np.where(signs > 0, C, 0), beta > np.where(signs > 0, 0, -C)
    if rises.any() and falls.any():
        assert true[falls].max() - true[rises].min() <= 1.1e-3
        assert greatest - least <= 1e-3


@pytest.mark.parametrize("C", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("gamma", [1e-4, 0.05, 2.0])
def test_libsvm_finds_no_lower_objective(clouds, C, gamma):
    X, y = clouds((60, 40), 5, 0.5)
    signs, kernel = np.where(y == 1, 1.0, -1.0), less_one(X, gamma)
    beta, *_ = solved(kernel, signs, C)
    svc = SVC(C=C, gamma=gamma).fit(X, y)
    theirs = np.zeros(len(y))
    theirs[svc.support_] = -svc.dual_coef_[0]
    # Stopped at the same tolerance, the objectives differ by less than it for each weight.
    room = 1e-3 * np.abs(beta).sum()
    assert objective(kernel, signs, beta) <= objective(kernel, signs, theirs) + room
    tight, *_ = solved(kernel, signs, C, 1e-6)
    assert objective(kernel, signs, tight) <= objective(kernel, signs, theirs) + 1e-3 * room


def test_one_sample_against_many_is_solved():
    X = np.random.default_rng(0).normal(size=(400, 3))
    signs = np.where(np.arange(400) == 0, 1.0, -1.0)
    beta, _, least, greatest = solved(less_one(X, 0.3), signs, 1e4)
    assert greatest - least <= 1e-3
    assert beta[0] == pytest.approx(-beta[1:].sum())


@pytest.mark.parametrize("gamma", [1e-8, 1e-5, 1e-3])
def test_flat_kernels_settle_at_any_cost(gamma):
    """Factorising is of little use where every kernel is nearly 1; it must do no harm."""
    rng = np.random.default_rng(0)
    X, signs = rng.normal(size=(200, 4)), np.where(rng.random(200) < 0.5, 1.0, -1.0)
    for C in (1.0, 1e3, 1e6):
        beta, _, least, greatest = solved(less_one(X, gamma), signs, C)
        assert greatest - least <= 1e-3
        assert abs(beta.sum()) <= 1e-12 * C * len(signs)


def test_nothing_is_done_where_there_is_one_class():
    kernel = less_one(np.random.default_rng(0).normal(size=(5, 2)), 1.0)
    beta, *_ = solved(kernel, np.ones(5), 10.0)
    assert (beta == 0).all()
