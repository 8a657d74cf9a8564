"""Models of strangers on images of one's own."""

import json

import numpy as np
import pytest
import xarray as xr

from hypercover.classifiers.bundle import save_bundle
from hypercover.classifiers.svm import SVMClassifier
from hypercover.errors import CallError, ModelError
from hypercover.experiment.prediction import predict_image
from hypercover.scene.scene import Scene

CLASSES = [
    {"code": 1, "name": "A", "color": "#000000"},
    {"code": 2, "name": "B", "color": "#ffffff"},
]


@pytest.fixture
def scene():
    values = np.random.default_rng(0).random((3, 5, 4)) + np.arange(5)[:, None]
    return Scene(xr.DataArray(values, dims=("band", "y", "x")))


@pytest.fixture
def model(tmp_path, scene):
    spectra = scene.cube.values.reshape(3, -1).T
    svm = SVMClassifier().fit(spectra, np.repeat([1, 2], 10))
    save_bundle(tmp_path / "svm", svm, {"bands": [1, 2, 3], "legend": CLASSES})
    return tmp_path / "svm"


def test_a_model_maps_an_image(tmp_path, scene, model):
    predict_image(model, scene, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    "legend",
    [None, 3, "A", [1, 2], [{"code": "x", "name": "A", "color": "#000000"}], [{"code": 1}],
     [{"code": 1, "name": "A", "color": "url(x)"}], [*CLASSES, *CLASSES]],
)  # fmt: skip
def test_classes_that_make_no_sense_are_refused(tmp_path, scene, model, legend):
    document = json.loads((model / "model.json").read_text())
    document["card"]["legend"] = legend
    if legend is None:
        del document["card"]["legend"]
    (model / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match="which classes it knows"):
        predict_image(model, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_a_map_is_named_as_what_it_is(tmp_path, scene, model):
    with pytest.raises(CallError, match=r"give it the suffix \.tif"):
        predict_image(model, scene, tmp_path / "map.png")


def test_a_map_and_its_confidence_have_names_of_their_own(tmp_path, scene, model):
    path = tmp_path / "map.tif"
    with pytest.raises(CallError, match="give each a name of its own"):
        predict_image(model, scene, path, confidence=path)
    assert not path.exists()
