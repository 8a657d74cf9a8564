"""The SVM: LIBSVM's labels on every pixel, honest confidences, a state that comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from hypercover.classifiers.svm import SVMClassifier
from hypercover.errors import ModelError


@parametrize_with_checks([SVMClassifier()])
def test_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


def peer(**parameters):
    return make_pipeline(StandardScaler(), SVC(**{"C": 100.0, **parameters}))


def clusters(n_classes, n_pixels=60, n_bands=6, seed=0, noise=1.5):
    rng = np.random.default_rng(seed)
    labels = np.arange(n_pixels) % n_classes
    means = rng.normal(size=(n_classes, n_bands)) * 100 + 1000
    return means[labels] + rng.normal(size=(n_pixels, n_bands)) * 100 * noise, labels


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("parameters", [{}, {"gamma": 0.3, "C": 1.0}, {"gamma": "auto"}])
def test_gives_the_labels_of_libsvm(n_classes, parameters):
    X, y = clusters(n_classes)
    unseen, _ = clusters(n_classes, n_pixels=500, seed=1, noise=3)
    ours = SVMClassifier(**parameters).fit(X, y * 10 + 1)
    theirs = peer(**parameters).fit(X, y * 10 + 1)
    np.testing.assert_array_equal(ours.predict(unseen), theirs.predict(unseen))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_ties_fall_as_in_libsvm(data):
    """Whole numbers on a small grid, many of them twice, give decisions of exactly zero."""
    value = st.integers(-2, 2)
    spectra = st.lists(st.tuples(value, value), min_size=6, max_size=16)
    X = np.array(data.draw(spectra), dtype=float)
    y = np.arange(len(X)) % data.draw(st.integers(2, 4))
    grid = np.stack(np.meshgrid(*[np.arange(-3, 3.1, 0.5)] * 2), -1).reshape(-1, 2)
    ours = SVMClassifier(C=1.0, gamma=0.5).fit(X, y)
    theirs = peer(C=1.0, gamma=0.5).fit(X, y)
    np.testing.assert_array_equal(ours.predict(grid), theirs.predict(grid))
    chosen = ours.classes_[ours.predict_proba(grid).argmax(axis=1)]
    np.testing.assert_array_equal(chosen, ours.predict(grid))


def test_an_exact_tie_of_three_classes_goes_to_the_first():
    corners = np.exp(2j * np.pi * np.arange(3) / 3)
    X = np.column_stack([corners.real, corners.imag])
    ours = SVMClassifier(gamma=0.5).fit(X, [5, 7, 9])
    theirs = peer(gamma=0.5).fit(X, [5, 7, 9])
    assert ours.predict(np.zeros((1, 2))) == theirs.predict(np.zeros((1, 2)))


def test_decisions_are_those_of_libsvm():
    X, y = clusters(4)
    ours, theirs = SVMClassifier().fit(X, y), peer(decision_function_shape="ovo").fit(X, y)
    decisions = ours.machines_.decisions((X - ours.mean_) / ours.scale_)
    np.testing.assert_allclose(decisions, theirs.decision_function(X), atol=1e-9)


def test_confidences_sum_to_one_and_agree_with_the_labels():
    X, y = clusters(6, n_pixels=90, noise=4)
    unseen, _ = clusters(6, n_pixels=2000, seed=2, noise=5)
    svm = SVMClassifier().fit(X, y)
    shares = svm.predict_proba(unseen)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-12)
    assert (shares >= 0).all()
    np.testing.assert_array_equal(svm.classes_[shares.argmax(axis=1)], svm.predict(unseen))


def test_two_class_confidence_is_the_logistic_of_the_decision():
    X, y = clusters(2)
    svm = SVMClassifier().fit(X, y)
    decision = peer().fit(X, y).decision_function(X)
    np.testing.assert_allclose(svm.predict_proba(X)[:, 1], 1 / (1 + np.exp(-decision)))


def test_blocks_do_not_change_the_answer(monkeypatch):
    X, y = clusters(3)
    svm = SVMClassifier().fit(X, y)
    whole, shares = svm.predict(X), svm.predict_proba(X)
    monkeypatch.setattr("hypercover.classifiers.pairwise._BLOCK", 7 * len(svm.n_support_))
    np.testing.assert_array_equal(svm.predict(X), whole)
    np.testing.assert_allclose(svm.predict_proba(X), shares, atol=1e-12)


class LazyWindows:
    """Stands for the lazy windows of a scene: no array may be made of it."""

    def __init__(self, stack):
        self.stack, self.shape, self.ndim = stack, stack.shape, 4

    def __len__(self):
        return len(self.stack)

    def centres(self):
        return self.stack[:, :, 1, 1]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("windows were cut")


def test_windows_are_seen_by_their_centre():
    X, y = clusters(3)
    stack = np.random.default_rng(0).normal(size=(*X.shape, 3, 3)) * 1000
    stack[:, :, 1, 1] = X
    svm = SVMClassifier().fit(X, y)
    for windows in (stack, LazyWindows(stack)):
        again = SVMClassifier().fit(windows, y)
        np.testing.assert_array_equal(again.predict(windows), svm.predict(X))
        np.testing.assert_array_equal(again.machines_.vectors, svm.machines_.vectors)


def test_whole_numbers_and_constant_bands_are_welcome():
    X, y = clusters(3)
    counts = X.astype(np.uint16)
    counts[:, 2] = 7
    svm = SVMClassifier().fit(counts, y)
    np.testing.assert_array_equal(
        svm.predict(counts), peer().fit(counts, y).predict(counts)
    )
    assert counts.dtype == np.uint16
    assert (counts[:, 2] == 7).all()


def test_class_weights_are_used():
    X, y = clusters(2, noise=4)
    heavy = {0: 1.0, 1: 1000.0}
    ours = SVMClassifier(C=0.1, class_weight=heavy).fit(X, y)
    theirs = peer(C=0.1, class_weight=heavy).fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.state()[0]["class_weight"] == [[0, 1.0], [1, 1000.0]]


@pytest.mark.parametrize("codes", [[3, 200, 255], ["Häfer", "beet", "corn"]])
def test_state_comes_back_exactly(codes):
    X, y = clusters(3)
    svm = SVMClassifier(C=10, gamma=0.2, class_weight="balanced").fit(X, np.array(codes)[y])
    back = SVMClassifier.from_state(*svm.state())
    np.testing.assert_array_equal(back.predict(X), svm.predict(X))
    np.testing.assert_array_equal(back.predict_proba(X), svm.predict_proba(X))
    assert back.classes_.tolist() == codes
    assert back.n_support_.tolist() == svm.n_support_.tolist()
    assert clone(back).get_params()["gamma"] == 0.2
    with pytest.raises(ValueError, match="expecting 6 features"):
        back.predict(X[:, :5])


def damaged(change):
    X, y = clusters(3)
    state = SVMClassifier().fit(X, y).state()
    change(*state)
    return state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s, a: a.pop("mean"), "lacks its mean"),
        (lambda s, a: a.update(mean=a["mean"][:3]), "mean must be finite"),
        (lambda s, a: a.update(vectors=a["vectors"] * np.nan), "vectors must be finite"),
        (lambda s, a: a.update(vectors=a["vectors"][0]), "mean must be finite"),
        (lambda s, a: a.update(counts=a["counts"] + 1), "do not add up"),
        (lambda s, a: a.update(counts=a["counts"] - 2**40), "do not add up"),
        (lambda s, a: a.update(scale=a["scale"] * 0), "above 0"),
        (lambda s, a: s.update(width=-1), "width"),
        (lambda s, a: s.update(width="0.1"), "width"),
        (lambda s, a: s.update(gamma=[1]), "gamma"),
        (lambda s, a: s.pop("C"), "The C"),
        (lambda s, a: s.update(class_weight=[1]), "class weights"),
        (lambda s, a: s.pop("classes"), "class codes"),
        (lambda s, a: s.update(classes={"type": "O", "values": [1, 2, 3]}), "class codes"),
        (lambda s, a: s["classes"].update(values=[1, 1, 2]), "class codes"),
        (lambda s, a: s["classes"].update(values=[1, 2]), "must be finite"),
        (lambda s, a: s["classes"].update(type="u1", values=[1, 2, 300]), "class codes"),
    ],
)
def test_a_damaged_state_is_refused(change, says):
    with pytest.raises(ModelError, match=says):
        SVMClassifier.from_state(*damaged(change))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"C": 0}, "The C .* above 0, got 0"),
        ({"C": np.nan}, "The C"),
        ({"gamma": "auto?"}, "gamma"),
        ({"gamma": -1.0}, "gamma"),
        ({"cache_size": True}, "cache_size"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, says):
    with pytest.raises(ModelError, match=says):
        SVMClassifier(**parameters).fit(*clusters(2))


def test_one_class_is_refused():
    with pytest.raises(ModelError, match="two classes, got one class, 4"):
        SVMClassifier().fit(np.eye(3), [4, 4, 4])
