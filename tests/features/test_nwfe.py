"""NWFE: the published formulas, in blocks; planted axes come back."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from hypercover.errors import ModelError
from hypercover.features.nwfe import NWFE


@parametrize_with_checks([NWFE()])
def test_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


def naive_scatters(X, y):
    """The formulas of Kuo and Landgrebe, one sample at a time."""
    n, d = X.shape
    floor = 1e-3 * np.sqrt(2 * sum(X[:, band].var() for band in range(d)))
    within, between = np.zeros((d, d)), np.zeros((d, d))
    for i in np.unique(y):
        for j in np.unique(y):
            own, others = X[y == i], X[y == j]
            residuals, weights = [], []
            for sample in own:
                near = []
                for other in others:
                    distance = np.sqrt(((sample - other) ** 2).sum())
                    near.append(1.0 / distance if distance >= floor else 0.0)
                if not any(near):
                    near = [1.0] * len(others)
                mean = sum(w * other for w, other in zip(near, others, strict=True)) / sum(
                    near
                )
                residuals.append(sample - mean)
                weights.append(1.0 / max(np.sqrt(((sample - mean) ** 2).sum()), floor))
            scatter = within if i == j else between
            for weight, residual in zip(weights, residuals, strict=True):
                share = weight / sum(weights) / len(own)
                scatter += len(own) / n * share * np.outer(residual, residual)
    return within, between


def naive(X, y, regularisation=0.5):
    """Eigenvalues, and the regularised scatter within."""
    within, between = naive_scatters(X, y)
    mixed = (1 - regularisation) * within + regularisation * np.diag(np.diag(within))
    return eigh(between, mixed, eigvals_only=True)[::-1], mixed, between


def assert_as_naive(X, y, **parameters):
    nwfe = NWFE(**parameters).fit(X, y)
    values, within, between = naive(X, y, **parameters)
    np.testing.assert_allclose(nwfe.eigenvalues_, values, rtol=1e-6, atol=1e-9)
    axes = nwfe.components_
    np.testing.assert_allclose(axes @ within @ axes.T, np.eye(len(axes)), atol=1e-7)
    np.testing.assert_allclose(
        axes @ between @ axes.T, np.diag(values), rtol=1e-6, atol=1e-6 * values[0]
    )


def clouds(n_classes=3, n_samples=45, n_bands=5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % n_classes
    return rng.normal(size=(n_classes, n_bands))[y] + rng.normal(
        size=(n_samples, n_bands)
    ), y


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("regularisation", [0.0, 0.5, 1.0])
def test_gives_what_the_formulas_say(n_classes, regularisation):
    assert_as_naive(*clouds(n_classes), regularisation=regularisation)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 4))
@settings(max_examples=25)
def test_gives_what_the_formulas_say_for_classes_of_any_size(seed, n_classes, n_bands):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), [0], rng.integers(n_classes, size=15)])
    assert_as_naive(rng.normal(size=(len(y), n_bands)) * 3 + 100, y)


def test_duplicates_and_a_class_of_one_sample_count_as_the_formulas_say():
    X, y = clouds(3, 30)
    X = np.concatenate([X, X[:5], X[:4], [[9.0, 9, 9, 9, 9]]])
    y = np.concatenate([y, y[:5], (y[:4] + 1) % 3, [7]])
    assert_as_naive(X, y)


@pytest.mark.parametrize("jitter", [0.0, 1e-9, 1e-5])
def test_all_samples_twice_teach_what_they_teach_once(jitter):
    X, y = clouds(2, 60)
    once = NWFE().fit(X, y)
    again = X + jitter * np.random.default_rng(0).normal(size=X.shape)
    twice = NWFE().fit(np.concatenate([X, again]), np.concatenate([y, y]))
    np.testing.assert_allclose(twice.eigenvalues_, once.eigenvalues_, rtol=1e-3)


def test_a_few_duplicates_change_little():
    X, y = clouds(2, 60)
    alone = NWFE().fit(X, y).eigenvalues_
    some = np.r_[:60, 0, 1]
    np.testing.assert_allclose(NWFE().fit(X[some], y[some]).eigenvalues_, alone, rtol=0.1)


def test_blocks_do_not_change_the_answer(monkeypatch):
    X, y = clouds()
    whole = NWFE().fit(X, y)
    monkeypatch.setattr("hypercover.features.nwfe._BLOCK", 31)
    parts = NWFE().fit(X, y)
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-9)


@given(st.permutations(range(45)))
@settings(max_examples=15)
def test_the_order_of_samples_does_not_matter(order):
    X, y = clouds()
    nwfe, again = NWFE(3).fit(X, y), NWFE(3).fit(X[order], y[order])
    np.testing.assert_allclose(again.components_, nwfe.components_, atol=1e-9)
    np.testing.assert_allclose(again.eigenvalues_, nwfe.eigenvalues_, rtol=1e-9)


def test_the_same_call_gives_the_same_bits():
    X, y = clouds()
    first, second = NWFE(max_per_class=9).fit(X, y), NWFE(max_per_class=9).fit(X, y)
    np.testing.assert_array_equal(first.components_, second.components_)


def test_moving_and_stretching_the_samples_changes_nothing_of_substance():
    X, y = clouds()
    nwfe, moved = NWFE(3).fit(X, y), NWFE(3).fit(X * 1000 - 5e4, y)
    np.testing.assert_allclose(moved.eigenvalues_, nwfe.eigenvalues_, rtol=1e-9)
    np.testing.assert_allclose(moved.components_ * 1000, nwfe.components_, atol=1e-9)


def test_names_of_classes_do_not_matter():
    X, y = clouds()
    named = NWFE(2).fit(X, np.array(["wheat", "corn", "oats"])[y])
    np.testing.assert_allclose(named.components_, NWFE(2).fit(X, y).components_, atol=1e-9)


def test_finds_a_planted_axis():
    rng = np.random.default_rng(0)
    axis = np.array([1.0, -2.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]) / 3
    y = np.arange(400) % 2
    X = rng.normal(size=(400, 8)) + 4 * y[:, np.newaxis] * axis
    found = NWFE(1).fit(X, y).components_[0]
    assert abs(found @ axis) / np.linalg.norm(found) >= 0.98


def test_finds_more_axes_than_discriminant_analysis():
    """Two classes of two heaps each part along two axes; class means coincide."""
    rng = np.random.default_rng(1)
    heap = np.arange(600) % 4
    centres = np.zeros((4, 6))
    centres[:, 1] = [-6, 6, 0, 0]
    centres[:, 4] = [0, 0, -6, 6]
    X, y = centres[heap] + rng.normal(size=(600, 6)), heap // 2
    nwfe = NWFE(6).fit(X, y)
    planted = (nwfe.components_[:2] ** 2)[:, [1, 4]].sum(axis=1)
    assert (planted / (nwfe.components_[:2] ** 2).sum(axis=1) >= 0.97).all()
    assert nwfe.eigenvalues_[1] > 1.5 * nwfe.eigenvalues_[2]
    assert LinearDiscriminantAnalysis().fit(X, y).transform(X).shape[1] == 1


def test_features_are_ordered_and_turned_one_way():
    nwfe = NWFE().fit(*clouds())
    assert (np.diff(nwfe.eigenvalues_) <= 0).all()
    assert nwfe.components_.shape == (5, 5)
    assert (nwfe.components_.max(axis=1) == np.abs(nwfe.components_).max(axis=1)).all()


def test_features_are_a_linear_map_of_the_samples():
    X, y = clouds()
    nwfe = NWFE(2).fit(X, y)
    expected = (X - X.mean(axis=0)) @ nwfe.components_.T
    np.testing.assert_allclose(nwfe.transform(X), expected, atol=1e-12)
    assert nwfe.get_feature_names_out().tolist() == ["nwfe0", "nwfe1"]
    assert make_pipeline(clone(nwfe)).fit_transform(X, y).shape == (45, 2)


def test_constant_bands_get_no_weight():
    X, y = clouds()
    padded = np.insert(X, [2, 5], 7.0, axis=1)
    nwfe = NWFE().fit(padded, y)
    assert nwfe.components_.shape == (5, 7)
    assert (nwfe.components_[:, [2, 6]] == 0).all()
    np.testing.assert_allclose(
        np.delete(nwfe.components_, [2, 6], axis=1), NWFE().fit(X, y).components_, atol=1e-9
    )


def test_a_band_that_varies_between_classes_alone_is_taken_first():
    X, y = clouds(2)
    X[:, 3] = y
    nwfe = NWFE(2).fit(X, y)
    assert np.abs(nwfe.components_[0]).argmax() == 3
    assert np.isfinite(nwfe.transform(X)).all()


def test_a_cap_draws_samples_of_large_classes_alone():
    X, y = clouds(3, 300)
    few = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y > 0)[:20]])
    capped = NWFE(3, max_per_class=60).fit(X[few], y[few])
    drawn = [
        np.random.RandomState(0).choice(np.flatnonzero(y[few] == 0), 60, replace=False),
        np.flatnonzero(y[few] > 0),
    ]
    kept = few[np.concatenate(drawn)]
    np.testing.assert_allclose(
        capped.eigenvalues_, NWFE(3).fit(X[kept], y[kept]).eigenvalues_, rtol=1e-9
    )
    whole = NWFE(3, max_per_class=100).fit(X, y)
    np.testing.assert_array_equal(whole.components_, NWFE(3).fit(X, y).components_)


def test_memory_does_not_grow_with_the_square_of_the_samples():
    X, y = clouds(2, 6000, 4)
    tracemalloc.start()
    NWFE(2).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25 < 3000**2 * 8


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"n_components": 0}, "number of features .* at least 1, got 0"),
        ({"n_components": 2.5}, "number of features"),
        ({"n_components": True}, "number of features"),
        ({"n_components": 6}, "cannot compute 6 features, because only 5 of 5 bands"),
        ({"max_per_class": 0}, "samples per class"),
        ({"regularisation": 1.5}, "from 0 to 1, got 1.5"),
        ({"regularisation": np.nan}, "from 0 to 1"),
        ({"regularisation": "half"}, "from 0 to 1"),
        ({"max_per_class": 1}, "at least two training samples"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, says):
    with pytest.raises(ModelError, match=says):
        NWFE(**parameters).fit(*clouds())


@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (np.eye(3), [4, 4, 4], "two classes, got one class, 4"),
        (np.eye(3), [1, 2, 3], "two training samples, got 3 classes"),
        (np.ones((4, 3)), [1, 1, 2, 2], "all 3 bands are constant"),
    ],
)
def test_samples_that_teach_nothing_are_refused(X, y, says):
    with pytest.raises(ModelError, match=says):
        NWFE().fit(X, y)


def test_a_scatter_without_inverse_is_refused():
    X, y = clouds(2, 6)
    with pytest.raises(ModelError, match=r"raise NWFE's regularisation to 0\.5"):
        NWFE(regularisation=0).fit(np.hstack([X, X]), y)


def test_fewer_samples_than_bands_are_welcome():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 50)), np.arange(12) % 3
    assert np.isfinite(NWFE(30).fit_transform(X, y)).all()
