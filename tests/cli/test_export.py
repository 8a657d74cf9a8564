"""``hypercover export``: a kept network as ONNX, and the example of its page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.prediction.scene_prediction import predict_scene
from hypercover.scene.io.reading import open_scene
from hypercover.windows.windows import Windows

PAGE = Path(__file__).parents[2] / "docs/onnx.md"


def card(fields, **changes):
    return {
        "bands": [1, 2, 3, 4, 5, 6],
        "wavelengths": np.linspace(450.0, 2300.0, 6).tolist(),
        "fwhm": None,
        "legend": fields.legend.to_json(),
        "window": 5,
        **changes,
    }


@pytest.fixture
def network(fields):
    """Train a network on the fields, with a corner that holds no data."""
    fields.cube[:, :6, :7] = 0
    rows, cols = np.nonzero(fields.codes * fields.cube.any(axis=0))
    model = CNNClassifier(epochs=2, random_state=0)
    model.fit(Windows(fields.cube, rows, cols, 5), fields.codes[rows, cols])
    save_bundle(fields.folder / "model", model, card(fields))
    return fields.folder / "model"


def metadata(path):
    found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in found.items()}


def test_the_file_says_classes_bands_and_weights(fields, network, call, tmp_path):
    answer = call("export", network, "-o", tmp_path / "new/cnn.onnx")
    assert (answer.code, answer.err) == (0, "")
    graph, differ = answer.out.splitlines()
    assert graph == f"Graph: {tmp_path / 'new/cnn.onnx'}"
    assert re.fullmatch(
        r"ONNX Runtime and the model differ by \de-0[6-9] on a random tile\.", differ
    )
    said = metadata(tmp_path / "new/cnn.onnx")
    assert said["classes"] == fields.legend.to_json()
    assert said["bands"] == [1, 2, 3, 4, 5, 6]
    assert said["wavelengths"] == card(fields)["wavelengths"]
    assert said["fwhm"] is said["band_names"] is None
    kept = json.loads((network / "model.json").read_text())
    assert said["weights_sha256"] == kept["weights"]["sha256"]


def test_the_example_of_the_page_makes_the_map_of_predict(fields, network, call, tmp_path):
    assert call("export", network, "-o", tmp_path / "cnn.onnx").code == 0
    np.save(tmp_path / "cube.npy", fields.cube)
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    program = (
        f"{example}\n"
        "import sys\n"
        "np.save('map.npy', class_map('cnn.onnx', np.load('cube.npy'), rows=11))\n"
        "assert not {'hypercover', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    labels = np.load(tmp_path / "map.npy")
    scene = open_scene(fields.image, labels=False)
    # A cube that is given to the graph has zeros where it has no data.
    cube = scene.cube.copy(data=fields.cube).assign_attrs(zero_is_nodata=True)
    scene = scene.replace(cube=cube)
    found = predict_scene(load_bundle(network).classifier, scene)
    assert np.array_equal(labels, found.labels)
    assert (labels == 0).sum() == 6 * 7
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_a_model_that_is_no_network_is_refused(trained, call, tmp_path):
    answer = call("export", trained, "-o", tmp_path / "svm.onnx")
    assert "Only networks are exported to ONNX" in answer.sentence
    assert "of the kind svm" in answer.sentence
    assert not list(tmp_path.glob("*.onnx"))


def test_a_network_on_image_features_is_refused(fields, network, call, tmp_path):
    model = load_bundle(network).classifier
    save_bundle(tmp_path / "model", model, card(fields), features=({"chain": []}, {}))
    answer = call("export", tmp_path / "model", "-o", tmp_path / "cnn.onnx")
    assert "works on image features" in answer.sentence
    assert not (tmp_path / "cnn.onnx").exists()


@pytest.mark.parametrize("name", ["cnn.pt", "cnn", "model"])
def test_another_suffix_is_refused(network, call, tmp_path, name):
    answer = call("export", network, "-o", tmp_path / name)
    assert "give it the suffix .onnx" in answer.sentence
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("legend", [None, [{"code": 1}], "Corn", [7]])
def test_a_card_without_classes_is_refused(fields, network, call, tmp_path, legend):
    model = load_bundle(network).classifier
    save_bundle(tmp_path / "model", model, card(fields, legend=legend))
    answer = call("export", tmp_path / "model", "-o", tmp_path / "cnn.onnx")
    assert "does not say which classes it knows" in answer.sentence


def test_classes_that_are_no_codes_are_refused(fields, call, tmp_path):
    names = np.array(["Corn", "Meadow"] * 6)
    windows = np.random.default_rng(0).normal(size=(12, 6, 1, 1))
    model = CNNClassifier(epochs=1, random_state=0).fit(windows, names)
    save_bundle(tmp_path / "model", model, card(fields, window=1))
    answer = call("export", tmp_path / "model", "-o", tmp_path / "cnn.onnx")
    assert "are not codes from 1 to 65535" in answer.sentence


def test_a_missing_package_is_named(network, call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    answer = call("export", network, "-o", tmp_path / "cnn.onnx")
    assert "pip install 'hypercover[onnx]'" in answer.sentence
    assert not (tmp_path / "cnn.onnx").exists()


def test_a_place_that_cannot_be_written_is_said(network, call, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = call("export", network, "-o", tmp_path / "file/cnn.onnx")
    assert "Cannot write" in answer.sentence
