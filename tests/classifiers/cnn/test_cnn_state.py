import json

import numpy as np
import pytest

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.errors import ModelError


def fitted(network="default", labels=(11, 21), size=3):
    rng = np.random.default_rng(0)
    y = np.repeat(labels, 10)
    windows = rng.normal(size=(20, 22, size, size)) + (y == labels[0])[:, None, None, None]
    return CNNClassifier(network, epochs=2, random_state=0).fit(windows, y), windows


@pytest.mark.parametrize(
    ("network", "labels", "size"),
    [("default", (11, 21), 3), ("default", ("corn", "hay"), 5), ("lecture", (1, 2), 7)],
)
def test_a_saved_model_answers_bit_for_bit(network, labels, size):
    cnn, windows = fitted(network, labels, size)
    settings, arrays = cnn.state()
    assert all(array.flags.c_contiguous for array in arrays.values())
    again = CNNClassifier.from_state(json.loads(json.dumps(settings)), arrays)
    np.testing.assert_array_equal(again.predict_proba(windows), cnn.predict_proba(windows))
    np.testing.assert_array_equal(again.predict(windows), cnn.predict(windows))
    assert again.get_params() == cnn.get_params()
    assert again.history_ == cnn.history_
    assert again.classes_.dtype == cnn.classes_.dtype
    assert (again.window_, again.margin_, again.n_features_in_) == (size, size // 2, 22)


def test_a_saved_model_keeps_its_recipe_as_plain_values():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 4, 3, 3)), np.arange(20) % 2
    recipe = {"mix": np.float64(0.2), "symmetries": np.bool_(False), "patience": None}
    cnn = CNNClassifier(epochs=np.int64(1), random_state=np.int64(3), recipe=recipe)
    settings, arrays = cnn.fit(X, y).state()
    again = CNNClassifier.from_state(json.loads(json.dumps(settings)), arrays)
    assert again.recipe == {"mix": 0.2, "symmetries": False, "patience": None}
    np.testing.assert_array_equal(again.fit(X, y).predict_proba(X), cnn.predict_proba(X))


def test_a_saved_model_can_be_trained_further_on_other_classes():
    cnn, windows = fitted()
    again = CNNClassifier.from_state(*cnn.state()).fit(windows, np.arange(20) % 3)
    assert again.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"window": 2**40},
        {"window": 2**12 + 1},
        {"window": 4},
        {"window": "9"},
        {"window": True},
        {"bands": -1},
        {"bands": 23},
        {"bands": 10**9},
        {"classes": {"dtype": "<i8", "values": [1]}},
        {"classes": {"dtype": "<i8", "values": [2, 1]}},
        {"classes": {"dtype": "<i8", "values": [1, 2, 3]}},
        {"classes": {"dtype": "<U999999999", "values": ["a", "b"]}},
        {"classes": {"dtype": "V8", "values": ["a", "b"]}},
        {"classes": {"dtype": "nonsense", "values": [1, 2]}},
        {"classes": {"dtype": "|u1", "values": [1, 300]}},
        {"classes": [1, 2]},
        {"history": "long"},
        {"history": [{"loss": "low"}]},
        {"parameters": {"network": "../../evil"}},
        {"parameters": {"network": "lecture"}},
        {"parameters": {"network": ["default"]}},
        {"parameters": {"progress": "print"}},
        {"parameters": {"recipe": [["mix", 1]]}},
        {"parameters": {"recipe": {"mixx": 1}}},
        {"parameters": {"recipe": {"mix": {"a": 1}}}},
        {"parameters": {"recipe": {"mix": 1}, "network": "no such network"}},
        {"parameters": {"compile": 1}},
        {"parameters": {"precision": None}},
        {"parameters": None},
    ],
    ids=str,
)
def test_settings_from_a_stranger_are_refused(change):
    settings, arrays = fitted()[0].state()
    with pytest.raises(ModelError):
        CNNClassifier.from_state(settings | change, arrays)


@pytest.mark.parametrize("key", ["parameters", "bands", "window", "classes"])
def test_settings_that_are_missing_are_refused(key):
    settings, arrays = fitted()[0].state()
    del settings[key]
    with pytest.raises(ModelError, match=key):
        CNNClassifier.from_state(settings, arrays)


@pytest.mark.parametrize(
    "damage",
    [
        lambda array: None,
        lambda array: array[..., :-1],
        lambda array: array.astype(np.float64),
        lambda array: np.full_like(array, np.nan),
        lambda array: array.astype(object),
    ],
    ids=["missing", "cut", "float64", "nan", "object"],
)
@pytest.mark.parametrize("name", ["scaling.mean", "scaling.weight", "network.head.weight"])
def test_arrays_from_a_stranger_are_refused(damage, name):
    settings, arrays = fitted()[0].state()
    damaged = damage(arrays.pop(name))
    if damaged is not None:
        arrays[name] = damaged
    with pytest.raises(ModelError, match="save the model again"):
        CNNClassifier.from_state(settings, arrays)


def test_an_array_too_many_is_refused():
    settings, arrays = fitted()[0].state()
    with pytest.raises(ModelError):
        CNNClassifier.from_state(settings, arrays | {"network.more": np.zeros(1)})


def test_state_is_a_copy_that_further_training_leaves_alone():
    cnn, windows = fitted()
    settings, arrays = cnn.state()
    expected = cnn.predict_proba(windows)
    restored = CNNClassifier.from_state(settings, arrays)
    for array in arrays.values():
        array[...] = 0
    np.testing.assert_array_equal(restored.predict_proba(windows), expected)
    np.testing.assert_array_equal(cnn.predict_proba(windows), expected)


def test_a_model_trained_on_a_gpu_computes_wherever_it_is_loaded():
    cnn, windows = fitted()
    expected = cnn.predict_proba(windows)
    cnn.device = "cuda"
    settings, arrays = cnn.state()
    assert "device" not in settings["parameters"]
    # so did earlier versions keep it
    settings["parameters"]["device"] = "cuda"
    again = CNNClassifier.from_state(settings, arrays)
    assert again.device == "auto"
    np.testing.assert_allclose(again.predict_proba(windows), expected, atol=1e-5)


@pytest.mark.slow
def test_a_window_that_can_be_trained_can_be_loaded():
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(6, 2, 257, 257)).astype(np.float32)
    cnn = CNNClassifier(epochs=1, random_state=0).fit(windows, np.arange(6) % 2)
    assert CNNClassifier.from_state(*cnn.state()).window_ == 257
