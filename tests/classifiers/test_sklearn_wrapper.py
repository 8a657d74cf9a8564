"""scikit-learn's classifiers by name: only its own, with close matches, and back from disk."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from hypercover.classifiers.sklearn_wrapper import SklearnClassifier, sklearn_classifier
from hypercover.errors import ModelError

FOREST = "sklearn.ensemble.RandomForestClassifier"
SMALL = {"n_estimators": 5}


@parametrize_with_checks(
    [
        SklearnClassifier(params=SMALL),
        SklearnClassifier("sklearn.neighbors.KNeighborsClassifier"),
    ]
)
def test_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


def pixels(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(90) % 3
    return rng.normal(size=(90, 5)) + labels[:, None] * 1.5, labels * 10 + 1


def test_it_is_the_same_as_by_hand():
    X, y = pixels()
    unseen, _ = pixels(1)
    ours = sklearn_classifier(FOREST, SMALL, random_state=3).fit(X, y)
    theirs = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=3)).fit(
        X, y
    )
    np.testing.assert_array_equal(ours.predict(unseen), theirs.predict(unseen))
    np.testing.assert_array_equal(ours.predict_proba(unseen), theirs.predict_proba(unseen))


@pytest.mark.parametrize(
    ("path", "params", "says"),
    [
        (
            "sklearn.ensemble.RandomForrestClassifier",
            {},
            "close is .*RandomForestClassifier",
        ),
        ("sklearn.RandomForestClassifier", {}, r"close is sklearn\.ensemble"),
        (FOREST, {"n_estimator": 5}, "no parameter 'n_estimator'; close is n_estimators"),
        (FOREST, {"zzz": 5}, "known are .* and .* more"),
        ("os.system", {}, "no classifier 'os.system'; known are"),
        ("sklearn.svm.SVR", {}, "no classifier"),
        ("sklearn.ensemble.VotingClassifier", {}, "no classifier"),
        ("builtins.eval", {}, "no classifier"),
        ("", {}, "no classifier"),
    ],
)
def test_unknown_names_are_refused_with_close_matches(path, params, says):
    with pytest.raises(ModelError, match=says):
        sklearn_classifier(path, params)


def test_wrong_values_are_refused():
    with pytest.raises(ModelError, match="cannot learn from these 90 samples"):
        sklearn_classifier(FOREST, {"n_estimators": "many"}).fit(*pixels())
    with pytest.raises(ModelError, match="cannot learn"):
        sklearn_classifier("sklearn.naive_bayes.MultinomialNB").fit(*pixels())


def test_shares_are_there_only_where_the_classifier_has_them():
    X, y = pixels()
    ridge = sklearn_classifier("sklearn.linear_model.RidgeClassifier").fit(X, y)
    assert not hasattr(ridge, "predict_proba")
    assert hasattr(sklearn_classifier(FOREST), "predict_proba")


def test_windows_are_seen_by_their_centre():
    X, y = pixels()
    stack = np.zeros((*X.shape, 3, 3))
    stack[:, :, 1, 1] = X
    forest = sklearn_classifier(FOREST, SMALL, random_state=0)
    np.testing.assert_array_equal(
        forest.fit(stack, y).predict(stack), forest.fit(X, y).predict(X)
    )


@pytest.mark.parametrize("seed", [0, None])
def test_state_comes_back(seed):
    X, y = pixels()
    names = np.array(["corn", "oats", "woods"])[y // 10]
    forest = sklearn_classifier(FOREST, SMALL, random_state=seed).fit(X, names)
    back = SklearnClassifier.from_state(*forest.state())
    np.testing.assert_array_equal(back.predict_proba(X), forest.predict_proba(X))
    assert back.classes_.tolist() == ["corn", "oats", "woods"]


def test_a_model_that_answers_otherwise_is_refused():
    settings, arrays = sklearn_classifier(FOREST, SMALL).fit(*pixels()).state()
    arrays["probes"] = (arrays["probes"] + 1) % 3
    with pytest.raises(ModelError, match=r"made with scikit-learn .* answers otherwise"):
        SklearnClassifier.from_state(settings, arrays)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s, a: a.pop("labels"), "lacks its samples"),
        (lambda s, a: a.update(samples=a["samples"][:5]), "do not fit together"),
        (lambda s, a: a.update(samples=a["samples"][:, :0]), "do not fit together"),
        (lambda s, a: a.update(samples=a["samples"] * np.inf), "finite"),
        (lambda s, a: a.update(labels=a["labels"] + 1), "between 0 and 2"),
        (lambda s, a: a.update(labels=a["labels"] * 0), "two classes"),
        (lambda s, a: s.update(path="os.system"), "no classifier"),
        (lambda s, a: s.update(path=None), "no classifier"),
        (lambda s, a: s.update(params=[1]), "parameters"),
        (lambda s, a: s.update(seed="x"), "parameters"),
        (lambda s, a: s.update(seed=-5), "cannot learn"),
        (lambda s, a: s.update(classes=None), "class codes"),
    ],
)
def test_a_damaged_state_is_refused(change, says):
    state = sklearn_classifier(FOREST, SMALL, random_state=0).fit(*pixels()).state()
    change(*state)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ModelError, match=says),
    ):
        SklearnClassifier.from_state(*state)
