"""Scikit-learn compatible classifiers by import path, and back from disk with skops."""

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from hypercover.classifiers.sklearn_wrapper import (
    SklearnClassifier,
    _is_trusted,
    sklearn_classifier,
)
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
            "the closest is .*RandomForestClassifier",
        ),
        ("sklearn.RandomForestClassifier", {}, r"the closest (is|are) sklearn\.ensemble"),
        (
            FOREST,
            {"n_estimator": 5},
            "no parameter 'n_estimator'; the closest is n_estimators",
        ),
        (FOREST, {"zzz": 5}, "choose one of .* and .* more"),
        ("os.system", {}, "'os.system' is not a classifier: it needs the methods"),
        ("sklearn.svm.SVR", {}, "No classifier"),
        ("sklearn.ensemble.VotingClassifier", {}, "No classifier"),
        ("builtins:eval", {}, "is not a classifier"),
        ("json.JSONDecoder", {}, "is not a classifier"),
        ("nowhere.Forest", {}, "No module named 'nowhere'; install its package"),
        ("json.Forest", {}, "no attribute 'Forest'; install its package"),
        ("", {}, "No classifier"),
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


def test_a_model_that_predicts_other_classes_is_refused():
    settings, arrays = sklearn_classifier(FOREST, SMALL).fit(*pixels()).state()
    arrays["answers"] = (arrays["answers"] + 1) % 3
    with pytest.raises(
        ModelError, match=r"saved with scikit-learn .* predicts other classes"
    ):
        SklearnClassifier.from_state(settings, arrays)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s, a: a.pop("skops"), "cannot be loaded"),
        (lambda s, a: a.update(skops=a["skops"][:-9]), "damaged"),
        (lambda s, a: a.update(skops=stored([1, 2])), "does not contain a classifier"),
        (lambda s, a: a.update(skops=stored(StandardScaler())), "not contain a classifier"),
        (lambda s, a: a.update(skops=stored(make_pipeline(None))), "cannot be loaded"),
        (lambda s, a: a.update(skops=stored([0.0] * 999, ZIP_DEFLATED)), "unpacks to more"),
        (lambda s, a: a.update(skops=stored(Path("x"))), "the type pathlib"),
        (lambda s, a: a.update(samples=a["probes"]), "older version of hypercover"),
        (lambda s, a: s.update(path=None), "parameters"),
        (lambda s, a: s.update(params=[1]), "parameters"),
        (lambda s, a: s.update(classes=None), "class codes"),
    ],
)
def test_a_damaged_state_is_refused(change, says):
    state = sklearn_classifier(FOREST, SMALL, random_state=0).fit(*pixels()).state()
    change(*state)
    with pytest.raises(ModelError, match=says):
        SklearnClassifier.from_state(*state)


def stored(thing, compression=ZIP_STORED):
    return np.frombuffer(skops.io.dumps(thing, compression=compression), dtype=np.uint8)


@pytest.mark.parametrize(
    "name", ["sklearn.utils.fixes.Path", "sklearn.nowhere.Tree", "os.system", "xgboost.x"]
)
def test_only_classes_defined_in_known_packages_are_trusted(name):
    assert not _is_trusted(name, ())


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("xgboost.XGBClassifier", {"n_estimators": 5}),
        ("lightgbm:LGBMClassifier", {"n_estimators": 5, "verbose": -1}),
    ],
)
def test_boosted_trees_learn_codes_and_come_back(path, params):
    X, y = pixels()
    trees = sklearn_classifier(path, params, random_state=0).fit(X, y)
    assert (trees.predict(X) == y).mean() > 0.8
    back = SklearnClassifier.from_state(*trees.state())
    np.testing.assert_array_equal(back.predict(X), trees.predict(X))
    np.testing.assert_array_equal(back.predict_proba(X), trees.predict_proba(X))


OWN = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

class Largest(ClassifierMixin, BaseEstimator):
    def __init__(self, shift=0):
        self.shift = shift
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self
    def predict(self, X):
        return X.argmax(axis=1) % len(self.classes_)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "ownpackage.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("ownpackage", None)


def test_any_other_class_is_loaded_by_those_alone_who_trust_it(package):
    X, y = pixels()
    own = sklearn_classifier("ownpackage:Largest", {"shift": 1}).fit(X, y)
    assert set(own.predict(X)) == set(y)
    state = own.state()
    with pytest.raises(ModelError, match=r"the type ownpackage\.Largest.*trusted="):
        SklearnClassifier.from_state(*state)
    back = SklearnClassifier.from_state(*state, trusted=["ownpackage"])
    np.testing.assert_array_equal(back.predict(X), own.predict(X))


def test_an_entry_point_names_a_classifier_and_trusts_its_package(package):
    info = package / "own-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: own\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[hypercover.classifiers]\nlargest = ownpackage:Largest\n"
    )
    X, y = pixels()
    own = sklearn_classifier("largest").fit(X, y)
    back = SklearnClassifier.from_state(*own.state())
    np.testing.assert_array_equal(back.predict(X), own.predict(X))


def test_the_same_classifier_is_saved_with_the_same_bytes():
    X, y = np.random.default_rng(0).normal(size=(40, 5)), np.repeat([1, 2], 20)
    forest = "sklearn.ensemble.RandomForestClassifier"
    saved = [
        sklearn_classifier(forest, {"n_estimators": 3}, random_state=0).fit(X, y).state()[1]
        for _ in range(2)
    ]
    assert saved[0]["skops"].tobytes() == saved[1]["skops"].tobytes()
