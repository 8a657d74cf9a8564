"""The SVM: LIBSVM's labels on every pixel, honest confidences, a state that comes back."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import ModelError


def expected_to_differ(estimator):
    if not estimator.probability:
        return {}
    return {
        "check_classifiers_train": "labels are votes: the most probable class can differ"
    }


@parametrize_with_checks(
    [SVMClassifier(), SVMClassifier(reduction=PCA()), SVMClassifier(probability=True)],
    expected_failed_checks=expected_to_differ,
)
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
    monkeypatch.setattr(
        "hypercover.classifiers.svm.one_vs_one._BLOCK", 7 * len(svm.n_support_)
    )
    monkeypatch.setattr("hypercover.classifiers.svm.one_vs_one._FEWEST", 1)
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


def reduced_peer(reduction, **parameters):
    return make_pipeline(StandardScaler(), reduction, SVC(**{"C": 100.0, **parameters}))


@pytest.mark.parametrize("parameters", [{}, {"gamma": "auto"}, {"gamma": 0.05}])
def test_a_reduction_stands_between_scaling_and_machines(parameters):
    X, y = clusters(4, n_bands=9)
    unseen, _ = clusters(4, n_pixels=500, n_bands=9, seed=1, noise=3)
    ours = SVMClassifier(reduction=PCA(3), **parameters).fit(X, y)
    theirs = reduced_peer(PCA(3), **parameters).fit(X, y)
    np.testing.assert_array_equal(ours.predict(unseen), theirs.predict(unseen))
    assert ours.machines_.gamma == pytest.approx(theirs[-1]._gamma, rel=1e-9)
    np.testing.assert_allclose(ours.preprocess(unseen), theirs[:-1].transform(unseen))
    assert (ours.n_features_in_, ours.projection_.shape) == (9, (3, 9))


class Recorder(PCA):
    """Remembers what it was fitted with; a clone of it is fitted, so in a list of the class."""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y=None):
        Recorder.seen.append((X.copy(), y))
        return super().fit(X)


def test_a_reduction_learns_from_scaled_training_pixels_and_their_codes():
    X, y = clusters(3)
    reduction = Recorder(2)
    Recorder.seen.clear()
    SVMClassifier(reduction=reduction).fit(X, y)
    ((scaled, codes),) = Recorder.seen
    np.testing.assert_allclose(scaled, StandardScaler().fit_transform(X), atol=1e-12)
    np.testing.assert_array_equal(codes, y)
    assert not hasattr(reduction, "components_")


def test_probabilities_fit_the_reduction_anew_without_the_pixels_held_out():
    X, y = clusters(3, n_pixels=50)
    Recorder.seen.clear()
    SVMClassifier(reduction=Recorder(2), probability=True).fit(X, y)
    assert [len(scaled) for scaled, _ in Recorder.seen] == [50, 40, 40, 40, 40, 40]


@pytest.mark.parametrize(
    "reduction", [PCA(2, whiten=True), TruncatedSVD(2), StandardScaler()]
)
def test_a_reduction_that_is_no_plain_linear_map_is_refused(reduction):
    with pytest.raises(
        ModelError, match=rf"must be linear, .* got {type(reduction).__name__}"
    ):
        SVMClassifier(reduction=reduction).fit(*clusters(3))


@pytest.mark.parametrize("reduction", ["nwfe", 30, SVC()])
def test_a_reduction_that_is_no_transformer_is_refused(reduction):
    with pytest.raises(ModelError, match="reduction"):
        SVMClassifier(reduction=reduction).fit(*clusters(3))


@pytest.mark.parametrize("reduction", [None, PCA(2)])
def test_preprocessing_can_be_fitted_alone(reduction):
    X, y = clusters(3)
    whole = SVMClassifier(reduction=reduction).fit(X, y)
    alone = SVMClassifier(reduction=reduction)
    assert alone.fit_preprocessing(X, y) is alone
    np.testing.assert_array_equal(alone.preprocess(X), whole.preprocess(X))
    assert alone.preprocess(X.astype(np.float32)).dtype == np.float64
    np.testing.assert_array_equal(SVMClassifier().fit_preprocessing(X).mean_, whole.mean_)
    with pytest.raises(NotFittedError):
        alone.predict(X)
    with pytest.raises(NotFittedError):
        SVMClassifier().preprocess(X)


def test_machines_are_forgotten_with_the_preprocessing_they_were_made_for():
    X, y = clusters(3)
    svm = SVMClassifier().fit(X, y).fit_preprocessing(X * 2, y)
    with pytest.raises(NotFittedError):
        svm.predict(X)


def test_windows_are_preprocessed_by_their_centre():
    X, y = clusters(3)
    stack = np.zeros((*X.shape, 3, 3))
    stack[:, :, 1, 1] = X
    svm = SVMClassifier().fit_preprocessing(stack, y)
    np.testing.assert_array_equal(svm.preprocess(stack), svm.preprocess(X))


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


@pytest.mark.parametrize("n_classes", [2, 4])
def test_state_keeps_reduction_and_sigmoids(n_classes):
    X, y = clusters(n_classes)
    svm = SVMClassifier(reduction=PCA(3), probability=True).fit(X, y)
    settings, arrays = svm.state()
    back = SVMClassifier.from_state(json.loads(json.dumps(settings)), arrays)
    np.testing.assert_array_equal(back.predict(X), svm.predict(X))
    np.testing.assert_array_equal(back.predict_proba(X), svm.predict_proba(X))
    np.testing.assert_array_equal(back.preprocess(X), svm.preprocess(X))
    assert back.n_features_in_ == 6
    assert back.probability


def test_a_state_without_reduction_and_sigmoids_is_as_it_was_before_there_were_any():
    X, y = clusters(3)
    settings, arrays = SVMClassifier().fit(X, y).state()
    assert set(settings) == {"C", "gamma", "class_weight", "width", "classes"}
    assert set(arrays) == {
        "mean",
        "scale",
        "vectors",
        "coefficients",
        "intercepts",
        "counts",
    }
    back = SVMClassifier.from_state(settings, arrays)
    assert back.projection_ is None
    assert back.sigmoids_ is None


def reduced_state(change):
    X, y = clusters(3)
    state = SVMClassifier(reduction=PCA(2), probability=True).fit(X, y).state()
    change(state[1])
    return state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("offset"), "one of projection and offset without the other"),
        (lambda a: a.pop("projection"), "one of projection and offset without the other"),
        (lambda a: a.update(projection=a["projection"][:1]), "projection must be finite"),
        (lambda a: a.update(projection=a["projection"][:, :5]), "must be finite"),
        (lambda a: a.update(projection=a["projection"][0]), "must be finite"),
        (
            lambda a: a.update(projection=a["projection"] * np.inf),
            "projection must be finite",
        ),
        (lambda a: a.update(offset=a["offset"][:1]), "offset must be finite"),
        (
            lambda a: a.update(offset=a["offset"].astype(np.float32)),
            "offset must be finite",
        ),
        (lambda a: a.update(sigmoids=a["sigmoids"][:2]), "sigmoids must be finite"),
        (lambda a: a.update(sigmoids=a["sigmoids"] * np.nan), "sigmoids must be finite"),
        (lambda a: a.update(vectors=a["vectors"][:, :1]), "must be finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_damaged_reduction_is_refused(change, says):
    with pytest.raises(ModelError, match=says):
        SVMClassifier.from_state(*reduced_state(change))


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
        (lambda s, a: s.pop("C"), "the saved SVM cannot be read: C: field required"),
        (lambda s, a: s.update(class_weight=[1]), "class_weight"),
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
        ({"gamma": 0.0}, "The gamma .* above 0, got 0"),
        ({"gamma": np.inf}, "gamma"),
        ({"gamma": None}, "gamma"),
        ({"C": -3.0}, "The C .* above 0, got -3"),
        ({"C": "10"}, "The C"),
        ({"probability": "yes"}, "probability"),
        ({"class_weight": {0: 1.0, 1: 0.0}}, "The class weight .* above 0, got 0"),
        ({"class_weight": {0: -1.0}}, "class weight"),
        ({"class_weight": "even"}, "class weights .* got 'even'"),
        ({"cache_size": True}, "cache_size"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, says):
    with pytest.raises(ModelError, match=says):
        SVMClassifier(**parameters).fit(*clusters(2))


def test_one_class_is_refused():
    with pytest.raises(ModelError, match="two classes, got one class, 4"):
        SVMClassifier().fit(np.eye(3), [4, 4, 4])


def test_duplicates_with_different_labels_are_learnt_as_libsvm_learns_them():
    X, y = clusters(3)
    X, y = np.concatenate([X, X[:20]]), np.concatenate([y, (y[:20] + 1) % 3])
    unseen, _ = clusters(3, n_pixels=500, seed=1, noise=3)
    np.testing.assert_array_equal(
        SVMClassifier().fit(X, y).predict(unseen), peer().fit(X, y).predict(unseen)
    )


def test_pixels_all_alike_leave_the_first_class():
    """Every band is constant, so that nothing tells the classes apart."""
    X, y = np.full((6, 3), 7), [1, 1, 2, 2, 3, 3]
    ours, theirs = SVMClassifier().fit(X, y), peer(gamma=1 / 3).fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert np.isfinite(ours.predict_proba(X)).all()


@pytest.mark.parametrize("size", [1e20, 1e160, 1e300])
def test_pixels_far_away_get_the_label_of_libsvm(size):
    X, y = clusters(4)
    far = size * np.random.default_rng(0).normal(size=(30, 6))
    np.testing.assert_array_equal(
        SVMClassifier().fit(X, y).predict(far), peer().fit(X, y).predict(far)
    )


@pytest.mark.parametrize("gamma", [1e-320, 1e-12, 1e3, 1e12])
def test_any_gamma_gives_the_labels_of_libsvm(gamma):
    X, y = clusters(4)
    unseen, _ = clusters(4, n_pixels=300, seed=1, noise=3)
    ours, theirs = SVMClassifier(gamma=gamma).fit(X, y), peer(gamma=gamma).fit(X, y)
    pixels = np.concatenate([X, unseen])
    np.testing.assert_array_equal(ours.predict(pixels), theirs.predict(pixels))


@pytest.mark.parametrize("cost", [1e-3, 1e6, 1e12])
def test_any_cost_gives_the_labels_of_libsvm(cost):
    X, y = clusters(5, noise=0.4)
    unseen, _ = clusters(5, n_pixels=1000, seed=1, noise=3)
    np.testing.assert_array_equal(
        SVMClassifier(C=cost).fit(X, y).predict(unseen),
        peer(C=cost).fit(X, y).predict(unseen),
    )
