"""Models of strangers on images of one's own."""

import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from hypercover.classifiers.bundle import save_bundle
from hypercover.classifiers.cnn import CNNClassifier
from hypercover.classifiers.svm import SVMClassifier
from hypercover.errors import CallError, ModelError
from hypercover.experiment.mapping import _identity
from hypercover.experiment.prediction import predict_image
from hypercover.scene.reading import open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.writing import write_scene

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


def test_all_maps_have_names_of_their_own(tmp_path, scene, model):
    maps = {"probabilities": tmp_path / "map.tiff", "entropy": tmp_path / "e.tif"}
    with pytest.raises(CallError, match=r"map\.tif; give each a name of its own"):
        predict_image(model, scene, tmp_path / "map.tif", **maps)
    assert not (tmp_path / "e.tif").exists()


def test_too_little_memory_for_the_program_is_told(tmp_path, scene, model):
    with pytest.raises(
        CallError, match=r"program alone takes .* MiB, and it may take 48 MiB"
    ):
        predict_image(model, scene, tmp_path / "map.tif", memory=50_000_000)


def test_a_scene_without_a_file_keeps_no_tiles(tmp_path, scene, model):
    predict_image(model, scene, tmp_path / "map.tif")
    assert not list(tmp_path.glob(".*"))


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A long image of six tiles in a file, and a small network for it."""
    folder = tmp_path_factory.mktemp("line")
    random = np.random.default_rng(0)
    values = random.integers(1, 900, size=(8, 200, 1536)).astype(np.int16)
    image = write_scene(
        Scene(xr.DataArray(values, dims=("band", "y", "x"))), folder / "line.tif"
    )
    windows = random.normal(400, 200, size=(16, 8, 9, 9))
    cnn = CNNClassifier(epochs=1, random_state=0).fit(windows, np.arange(16) % 2 + 1)
    card = {"bands": list(range(1, 9)), "wavelengths": None, "legend": CLASSES}
    save_bundle(folder / "cnn", cnn, card)
    whole = folder / "whole.tif"
    line = SimpleNamespace(folder=folder, image=image, model=folder / "cnn", whole=whole)
    # by a process like the others: this one may have other threads and less memory left
    subprocess.run(command(line, whole), capture_output=True, check=True, timeout=300)
    return line


def command(line, out):
    program = "import sys; from hypercover.cli.main import main; main()"
    words = [line.model, line.image, "--out", out, "--entropy", out.with_name("e.tif")]
    return [sys.executable, "-c", program, "predict", *map(str, words)]


@pytest.mark.parametrize("ended", ["SIGKILL", "SIGINT"])
def test_a_prediction_that_is_killed_goes_on(line, tmp_path, ended):
    out, kept = tmp_path / "map.tif", tmp_path / ".map.tif.tiles"
    process = subprocess.Popen(
        command(line, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    give_up = time.monotonic() + 300
    while not list(kept.glob("[0-9]*.tile")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, "no tile within five minutes"
        time.sleep(0.002)
    process.send_signal(getattr(signal, ended))
    process.communicate(timeout=300)
    assert process.returncode == {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}[ended]
    assert not list(tmp_path.glob("*.tif"))
    tiles = {tile.name for tile in kept.glob("[0-9]*.tile")}
    assert 0 < len(tiles) < 6
    again = subprocess.run(
        command(line, out), capture_output=True, text=True, check=True, timeout=300
    )
    assert f"Going on: {len(tiles)} of 6 tiles were there." in again.stderr
    assert filecmp.cmp(out, line.whole, shallow=False)
    assert filecmp.cmp(tmp_path / "e.tif", line.folder / "e.tif", shallow=False)
    assert not list(tmp_path.glob(".*"))


def test_another_image_of_the_same_name_starts_anew(line, tmp_path):
    image = tmp_path / "line.tif"
    image.write_bytes(line.image.read_bytes())
    before = _identity(line.model, open_scene(image))
    assert before == _identity(line.model, open_scene(image))
    os.utime(image, (1, 1))
    assert before != _identity(line.model, open_scene(image))
