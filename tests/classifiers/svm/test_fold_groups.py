import numpy as np
import pytest
from sklearn.svm import SVC

from hypercover.classifiers.svm.grid_search import KernelGridSearch, preprocess_folds
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.classifiers.svm.svm_cross_validation import CVProblem, cross_validate_gamma
from hypercover.errors import CallError
from hypercover.features.nwfe import NWFE


@pytest.fixture
def spectra(clouds):
    X, y = clouds((40, 35, 30), 6, 0.8)
    return 100.0 + X * np.array([1.0, 5.0, 20.0, 0.1, 3.0, 8.0]), y


def folds_of(y):
    places = np.arange(len(y)) % 3
    return [(np.flatnonzero(places != k), np.flatnonzero(places == k)) for k in range(3)]


def test_an_svc_sees_samples_as_they_are(spectra):
    X, y = spectra
    ((_, view),) = preprocess_folds(SVC(), X, y, folds_of(y))
    np.testing.assert_array_equal(view.samples.features, X[view.samples.order])
    assert view.gamma_value("scale") == pytest.approx(1 / (6 * X.var()))


def test_scaling_is_done_once_for_all_folds(spectra):
    X, y = spectra
    ((numbers, view),) = preprocess_folds(SVMClassifier(), X, y, folds_of(y))
    assert numbers == [0, 1, 2]
    features = view.samples.features
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(features.std(axis=0), 1)


def test_a_reduction_sees_in_each_fold_only_what_trains(spectra):
    """Nothing that is held out may have a say: other labels there change nothing."""
    X, y = spectra
    folds = folds_of(y)
    estimator = SVMClassifier(reduction=NWFE(3))
    numbers, views = zip(*preprocess_folds(estimator, X, y, folds), strict=True)
    assert numbers == ([0], [1], [2])
    for view, (train, test) in zip(views, folds, strict=True):
        other = X.copy()
        other[test] += 7.0
        alone = SVMClassifier(reduction=NWFE(3)).fit_preprocessing(other[train], y[train])
        expected = alone.preprocess(X)[view.samples.order]
        np.testing.assert_allclose(view.samples.features, expected)
        variance = alone.preprocess(X[train]).var()
        assert view.gamma_value("scale") == pytest.approx(1 / (3 * variance))
    # Fitted again for every fold, and the given one not at all.
    assert not np.allclose(views[0].samples.features, views[1].samples.features)
    assert not hasattr(estimator.reduction, "components_")


def test_folds_that_are_reduced_apart_keep_to_the_memory(spectra):
    X, y = spectra
    estimator = SVMClassifier(reduction=NWFE(2))
    for _, problem in preprocess_folds(estimator, X, y, folds_of(y), memory=3_000_000):
        assert problem.budget == 3_000_000
        assert 0 < 2 * problem.cache_bytes <= 3_000_000
    with pytest.raises(CallError, match="allow more memory"):
        list(preprocess_folds(estimator, X, y, folds_of(y), memory=30_000))


def test_a_width_by_name_is_what_scikit_learn_means_by_it(spectra):
    X, y = spectra
    ((_, view),) = preprocess_folds(SVMClassifier(), X, y, folds_of(y))
    seen = SVMClassifier().fit_preprocessing(X, y).preprocess(X)
    for name, width in (("auto", 1 / 6), ("scale", 1 / (6 * seen.var()))):
        row = cross_validate_gamma(view, gamma=name, C=[1.0, 10.0])
        assert row.gamma == pytest.approx(width)
        expected = cross_validate_gamma(
            CVProblem.of(seen, y, folds_of(y)), gamma=width, C=[1.0, 10.0]
        )
        np.testing.assert_array_equal(row.correct, expected.correct)


def test_weights_and_tolerance_are_the_estimators(spectra):
    X, y = spectra
    estimator, folds = SVC(tol=0.5, class_weight={1: 9.0}), folds_of(y)
    grid = {"C": [1.0, 100.0], "gamma": [0.2]}
    search = KernelGridSearch(estimator, grid, cv=folds, refit=False).fit(X, y)
    loose = search.rows_[0]
    expected = cross_validate_gamma(
        CVProblem.of(X, y, folds), gamma=0.2, C=grid["C"], tol=0.5, class_weight={1: 9.0}
    )
    np.testing.assert_array_equal(loose.correct, expected.correct)
    np.testing.assert_array_equal(loose.steps, expected.steps)
    plain = KernelGridSearch(SVC(), grid, cv=folds, refit=False).fit(X, y)
    assert (loose.steps < plain.rows_[0].steps).all()
