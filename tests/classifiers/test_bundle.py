"""Bundles: what is saved comes back, and what a stranger damaged is refused."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.classifiers.band_matching import match_bands
from hypercover.classifiers.bundle import (
    codes_from_json,
    codes_to_json,
    load_bundle,
    save_bundle,
)
from hypercover.classifiers.sklearn_wrapper import sklearn_classifier
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import ModelError, OutputError
from hypercover.files import read_checksummed

CARD = {
    "bands": [1, 2, 3, 5],
    "wavelengths": [400.0, 410.1, 420.2, 440.4],
    "legend": [{"code": 200, "name": "Häfer & <b>", "color": "#aabbcc"}],
    "window": 1,
    "preprocessing": "each band scaled",
}


def pixels(codes=(3, 200, 65535)):
    rng = np.random.default_rng(0)
    which = np.arange(60) % 3
    return rng.normal(size=(60, 4)) + which[:, None], np.array(codes)[which]


@pytest.mark.parametrize(("given", "read"), [(1.5, 1.5), (2, 2.0), (None, None)])
def test_a_card_may_say_a_temperature(tmp_path, given, read):
    save_bundle(tmp_path, SVMClassifier().fit(*pixels()), CARD | {"temperature": given})
    assert load_bundle(tmp_path).temperature == read


def test_an_older_card_says_none(saved):
    assert load_bundle(saved).temperature is None


@pytest.mark.parametrize("given", [0, -1, 1e9, "2", True, [1.5], {"T": 1}])
def test_a_temperature_that_is_none_is_refused(tmp_path, given):
    save_bundle(tmp_path, SVMClassifier().fit(*pixels()), CARD | {"temperature": given})
    with pytest.raises(
        ModelError, match="model cannot be read: temperature: input should be"
    ):
        load_bundle(tmp_path)


@pytest.fixture
def saved(tmp_path):
    svm = SVMClassifier().fit(*pixels())
    save_bundle(tmp_path / "model", svm, CARD)
    return tmp_path / "model"


@pytest.mark.parametrize(
    "make",
    [
        SVMClassifier,
        lambda: sklearn_classifier("sklearn.neighbors.KNeighborsClassifier"),
    ],
)
@pytest.mark.parametrize(
    "codes", [(3, 200, 65535), ("Mais", "Roggen", "Weizen ü"), (-1, 0, 2**62)]
)
def test_a_model_comes_back_as_it_was(tmp_path, make, codes):
    X, y = pixels(codes)
    model = make().fit(X, y)
    save_bundle(tmp_path, model, CARD)
    bundle = load_bundle(tmp_path)
    assert bundle.card == CARD
    assert bundle.versions["scikit-learn"]
    assert bundle.classifier.classes_.tolist() == list(codes)
    np.testing.assert_array_equal(bundle.classifier.predict(X), model.predict(X))
    np.testing.assert_array_equal(
        bundle.classifier.predict_proba(X), model.predict_proba(X)
    )
    assert match_bands(bundle.card, [1, 2, 3, 5], None) is None


def test_a_network_comes_back_as_it_was(tmp_path):
    from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier

    rng = np.random.default_rng(0)
    windows = rng.normal(size=(30, 4, 9, 9)).astype(np.float32)
    codes = np.array([3, 200, 65535])[np.arange(30) % 3]
    model = CNNClassifier(epochs=1, random_state=0, device="cpu").fit(windows, codes)
    save_bundle(tmp_path, model, CARD)
    back = load_bundle(tmp_path).classifier
    assert back.classes_.tolist() == [3, 200, 65535]
    np.testing.assert_array_equal(back.predict_proba(windows), model.predict_proba(windows))


def test_a_network_computes_where_it_is_asked_to(tmp_path, monkeypatch):
    from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier

    windows, codes = np.random.default_rng(0).normal(size=(8, 3, 3, 3)), np.arange(8) % 2
    save_bundle(tmp_path, CNNClassifier(epochs=1, device="cpu").fit(windows, codes), CARD)
    assert load_bundle(tmp_path).classifier.device == "auto"
    assert load_bundle(tmp_path, device="cpu").classifier.device == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match="device is cuda, but PyTorch finds no"):
        load_bundle(tmp_path, device="cuda")


def test_arrays_of_any_layout_are_saved_whole(tmp_path):
    """Numbers without an axis and turned arrays keep their shape and values."""

    class SVMClassifier:
        def state(self):
            return {}, {"one": np.array(7), "turned": np.arange(6.0).reshape(2, 3).T}

    from safetensors.numpy import load_file

    save_bundle(tmp_path, SVMClassifier(), CARD)
    back = load_file(tmp_path / "weights.safetensors")
    assert back["one"].shape == ()
    np.testing.assert_array_equal(back["turned"], np.arange(6.0).reshape(2, 3).T)


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    before = [(saved / name).read_bytes() for name in ("model.json", "weights.safetensors")]
    save_bundle(saved, SVMClassifier().fit(*pixels()), CARD)
    after = [(saved / name).read_bytes() for name in ("model.json", "weights.safetensors")]
    assert before == after
    assert sorted(path.name for path in saved.iterdir()) == [
        "model.json",
        "weights.safetensors",
    ]


def test_loading_an_svm_loads_no_torch(saved):
    code = (
        "import sys; from hypercover.classifiers.bundle import load_bundle;"
        f"load_bundle({str(saved)!r}); print('torch' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"


def test_only_known_classifiers_and_plain_cards_are_saved(tmp_path):
    svm = SVMClassifier().fit(*pixels())
    with pytest.raises(ModelError, match="got dict"):
        save_bundle(tmp_path / "a", {}, CARD)
    for card in ({"window": float("nan")}, {"legend": object()}):
        with pytest.raises(ModelError, match="plain data"):
            save_bundle(tmp_path / "a", svm, card)
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        save_bundle(tmp_path / "file", SVMClassifier().fit(*pixels()), CARD)


def edited(folder, change):
    path = folder / "model.json"
    document = read_checksummed(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(format="other"), "not a hypercover model"),
        (lambda d: d.update(version=3), "format version 3"),
        (lambda d: d.update(version=2), "model.json has no 'features'"),
        (
            lambda d: d.update(kind="pickle"),
            "unknown kind 'pickle'; this hypercover reads svm, cnn",
        ),
        (lambda d: d.update(kind=["svm"]), "unknown kind"),
        (lambda d: d.update(kind="sklearn"), "parameters"),
        (lambda d: d.pop("card"), "model.json has no 'card'"),
        (lambda d: d.update(settings=[]), "model.json has no 'settings'"),
        (lambda d: d["settings"].update(width=0), "width"),
        (lambda d: d["settings"]["classes"].update(values=[1, 2]), "must be finite"),
        (lambda d: d["weights"].update(bytes=5), "truncated or from another model"),
        (lambda d: d["weights"].update(sha256="00"), "checksum"),
        (lambda d: d.update(weights={}), "truncated or from another model"),
    ],
)
def test_an_edited_model_is_refused(saved, change, says):
    edited(saved, change)
    with pytest.raises(ModelError, match=says):
        load_bundle(saved)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 200_000, b'{"a": NaN}']
)
def test_a_damaged_document_is_refused(saved, text):
    (saved / "model.json").write_bytes(text)
    with pytest.raises(ModelError, match=r"damaged|not a model"):
        load_bundle(saved)


def with_weights(folder, weights):
    """Put other weights into a bundle, with size and checksum to match."""
    import hashlib

    (folder / "weights.safetensors").write_bytes(weights)
    facts = {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    edited(folder, lambda document: document.update(weights=facts))


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\xff" * 8,
        (2**62).to_bytes(8, "little") + b"{}",
        pickle.dumps({"mean": 1}),
        (100).to_bytes(8, "little")
        + b'{"mean":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8]}}'.ljust(
            100
        )
        + b"\0" * 8,
        (70).to_bytes(8, "little")
        + b'{"mean":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}'.ljust(70)
        + b"\0" * 8,
    ],
)
def test_weights_that_are_no_safetensors_file_are_refused(saved, weights):
    with_weights(saved, weights)
    with pytest.raises(ModelError, match=r"safetensors|has no"):
        load_bundle(saved)


def test_missing_cut_and_changed_files_are_refused(saved):
    weights = saved / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    with pytest.raises(ModelError, match="truncated"):
        load_bundle(saved)
    weights.write_bytes(whole[:-8] + b"\0" * 8)
    with pytest.raises(ModelError, match="checksum"):
        load_bundle(saved)
    weights.unlink()
    with pytest.raises(ModelError, match="has no weights"):
        load_bundle(saved)
    weights.mkdir()
    with pytest.raises(ModelError, match="truncated"):
        load_bundle(saved)
    (saved / "model.json").unlink()
    with pytest.raises(ModelError, match=r"No readable model .* give the folder"):
        load_bundle(saved)


@given(st.sets(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=20))
def test_whole_numbers_come_back_exactly(codes):
    classes = np.array(sorted(codes), dtype=np.int64)
    back = codes_from_json(json.loads(json.dumps(codes_to_json(classes))))
    np.testing.assert_array_equal(back, classes)
    assert back.dtype == classes.dtype


@pytest.mark.parametrize("kind", ["u1", "<U5", "O", "f8", "i2"])
def test_the_type_comes_back(kind):
    classes = np.array(["corn", "oats"] if kind in ("<U5", "O") else [1, 2], dtype=kind)
    back = codes_from_json(json.loads(json.dumps(codes_to_json(classes))))
    assert back.tolist() == classes.tolist()
    assert back.dtype.kind == classes.dtype.kind


@pytest.mark.parametrize(
    "classes", [np.array([b"a", b"b"]), np.array([1, "a"], dtype=object)]
)
def test_other_codes_are_not_saved(classes):
    with pytest.raises(ModelError, match="Only whole numbers and names"):
        codes_to_json(classes)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"type": "u1"},
        {"type": "u1", "values": 3},
        {"type": "u1", "values": [1]},
        {"type": "u1", "values": [2, 1]},
        {"type": "u1", "values": [1, 256]},
        {"type": "u1", "values": [1, True]},
        {"type": "u1", "values": ["1", "2"]},
        {"type": "(1000000,)u1", "values": [1, 2]},
        {"type": "i4,i4", "values": [1, 2]},
        {"type": {"names": ["a"]}, "values": [1, 2]},
        {"type": "V8", "values": [1, 2]},
        {"type": "i8", "values": [1, 2**63]},
        {"type": "u1", "values": list(range(256)) * 300},
    ],
)
def test_what_no_one_saved_is_refused(value):
    with pytest.raises(ModelError, match="class codes"):
        codes_from_json(value)


def test_a_huge_text_width_takes_no_memory():
    back = codes_from_json({"type": "U500000000", "values": ["a", "b"]})
    assert back.dtype == np.dtype("U1")
