"""A network as ONNX: the same map, by a program that knows nothing of hypercover."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import torch
import xarray as xr

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.cnn.onnx_export import onnx_graph, write_onnx
from hypercover.classifiers.networks.network_catalog import NETWORKS
from hypercover.errors import CallError
from hypercover.evaluation.calibration import apply_temperature
from hypercover.prediction.scene_prediction import predict_scene
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.simulate import SimulationSettings, simulated_scene
from hypercover.windows.windows import Windows

# Each takes seconds to export: the rest of those that are tiled are for the slow tests.
TILED = [name for name, kind in NETWORKS.items() if kind.spatially_valid]
WINDOWED = [name for name in NETWORKS if name not in TILED]


def smallest(name):
    """Side of the smallest window a network takes, but 9 where that is enough."""
    return max(9, NETWORKS[name].minimum_window)


def trained(name, window=None, *, bands=30):
    """A network of four classes after one pass over noise around four spectra."""
    chance = np.random.default_rng(0)
    window = window or smallest(name)
    codes = np.repeat([1, 2, 5, 300], 6)
    spectra = chance.uniform(200, 4000, (301, bands))[codes]
    noise = chance.normal(0, 90, (len(codes), bands, window, window))
    windows = (spectra[:, :, None, None] + noise).astype(np.float32)
    return CNNClassifier(name, epochs=1, random_state=0).fit(windows, codes)


@pytest.fixture(scope="module")
def networks():
    """One trained network of each kind, made when asked for."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = trained(name)
        return made[name]

    return of


@pytest.fixture(scope="module")
def graphs(networks):
    """The graph of each of them, exported once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = onnx_graph(networks(name), {"classes": [{"name": "Maïs"}]})
        return made[name]

    return of


def loaded(graph):
    return onnxruntime.InferenceSession(graph.SerializeToString())


def expected_of(model, cubes):
    """Probabilities of cubes (n, band, row, col) with their edges repeated, in one pass."""
    sides = [(0, 0), (0, 0), *[(model.margin_, model.margin_)] * 2]
    scaled = model.scaling_.apply(np.pad(cubes, sides, mode="edge"))
    with torch.no_grad():
        return model.network_(scaled).softmax(1).numpy()


def raw(bands, rows, cols, count=1):
    """Values of a sensor (count, band, row, col) with a corner that holds no data."""
    chance = np.random.default_rng(1)
    values = chance.uniform(0, 4000, (count, bands, rows, cols)).astype(np.float32)
    values[:, :, :2, :2] = 0
    return values


@pytest.mark.parametrize(
    "name",
    [
        "lecture",
        *(pytest.param(n, marks=pytest.mark.slow) for n in TILED if n != "lecture"),
    ],
)
def test_height_width_and_batch_are_free_and_edges_repeat(networks, graphs, name):
    model, session = networks(name), loaded(graphs(name))
    for count, rows, cols in ((1, 11, 14), (2, 3, 1)):
        values = raw(30, rows, cols, count)
        (answer,) = session.run(["probabilities"], {"cube": values})
        assert answer.shape == (count, 4, rows, cols)
        assert np.abs(answer - expected_of(model, values)).max() < 1e-4
        assert np.abs(answer.sum(axis=1) - 1).max() < 1e-5


@pytest.mark.parametrize("name", WINDOWED)
def test_networks_that_need_their_window_alone_take_windows(networks, graphs, name):
    model, session = networks(name), loaded(graphs(name))
    side = model.window_
    assert session.get_inputs()[0].shape == ["batch", 30, side, side]
    for count in (1, 5):
        windows = raw(30, side, side, count)
        (answer,) = session.run(["probabilities"], {"windows": windows})
        assert np.abs(answer - model.predict_proba(windows)).max() < 1e-4
    assert said(graphs(name))["padding"] == "none"


def test_a_window_of_one_pixel():
    model = trained("default", window=1)
    (answer,) = loaded(onnx_graph(model, {})).run(None, {"cube": raw(30, 12, 16)})
    assert np.abs(answer - expected_of(model, raw(30, 12, 16))).max() < 1e-4


def said(graph):
    return {prop.key: json.loads(prop.value) for prop in graph.metadata_props}


def test_the_graph_says_how_to_use_it(graphs):
    found = said(graphs("lecture"))
    assert found.pop("hypercover_version") == graphs("lecture").producer_version
    assert found == {
        "classes": [{"name": "Maïs"}],
        "input": "cube",
        "margin": 4,
        "network": "lecture",
        "nodata": 0,
        "padding": "edge pixels repeated, inside the graph",
        "temperature": None,
        "window": 9,
    }


@pytest.mark.parametrize(
    "name", [pytest.param(TILED[0], marks=pytest.mark.slow), *WINDOWED[:1]]
)
def test_a_temperature_is_inside_the_graph_and_said(networks, tmp_path, name):
    model, path = networks(name), tmp_path / "net.onnx"
    assert write_onnx(model, path, {}, 2.5) < 1e-4
    assert said(onnx.load(path))["temperature"] == 2.5
    values = raw(30, *(model.window_,) * 2)
    (answer,) = onnxruntime.InferenceSession(path).run(
        None, {said(onnx.load(path))["input"]: values}
    )
    own = (
        model.predict_proba(values)[0]
        if name in WINDOWED
        else expected_of(model, values)[0]
    )
    assert np.abs(answer[0] - apply_temperature(own, 2.5, axis=0)).max() < 1e-4
    assert np.abs(answer[0] - own).max() > 1e-3


@pytest.mark.slow
def test_equal_models_give_equal_bytes_and_nothing_else_changes(networks, tmp_path, capfd):
    model = networks("default")
    before = {key: value.copy() for key, value in model.state()[1].items()}
    chance = torch.get_rng_state()
    apart = [write_onnx(model, tmp_path / f"{which}.onnx", {}) for which in "ab"]
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.get_rng_state(), chance)
    assert apart[0] == apart[1] < 1e-5
    a, b = ((tmp_path / f"{which}.onnx").read_bytes() for which in "ab")
    assert a == b
    # torch notes in which file of this machine each operator was written
    assert b".py" not in a
    after = model.state()[1]
    assert all(np.array_equal(after[key], value) for key, value in before.items())
    assert not model.network_.training


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_and_nothing_written(
    networks, package, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CallError, match=rf"package {package}.*hypercover\[onnx\]"):
        write_onnx(networks("default"), tmp_path / "net.onnx", {})
    assert not list(tmp_path.iterdir())


def test_without_a_runtime_the_file_is_not_compared(networks, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert write_onnx(networks("lecture"), tmp_path / "net.onnx", {}) is None
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)


def same_map(model, scene):
    """Hold the answers of ONNX Runtime for a whole scene against ``predict_scene``."""
    cube = np.asarray(scene.cube.values).astype(np.float32)
    (answer,) = loaded(onnx_graph(model, {})).run(None, {"cube": cube[None]})
    found = predict_scene(model, scene)
    labels = model.classes_[answer[0].argmax(axis=0)]
    best = np.sort(answer[0], axis=0)
    close = best[-1] - best[-2] < 1e-5
    assert ((labels != found.labels) & ~close).sum() == 0
    assert np.abs(best[-1] - found.confidence).max() < 1e-4
    assert len(np.unique(labels)) > 1


@pytest.mark.parametrize(
    ("name", "epochs"), [pytest.param("default", 4, marks=pytest.mark.slow), ("lecture", 2)]
)
def test_a_whole_scene_gets_the_same_labels(name, epochs):
    scene = simulated_scene(SimulationSettings(rows=60, cols=70, bands=30, classes=4))
    labels = np.asarray(scene.labels)
    rows, cols = np.nonzero(labels)
    few = slice(None, None, 17)
    windows = Windows(scene.cube.values, rows[few], cols[few], 9)
    model = CNNClassifier(name, epochs=epochs, random_state=0)
    same_map(model.fit(windows, labels[rows[few], cols[few]]), scene)


@pytest.mark.slow
def test_the_stand_in_gets_the_same_labels(data_folder):
    with np.load(data_folder / "derived/indian_pines_rank37_reconstruction.npz") as file:
        cube = np.ascontiguousarray(file["cube"].transpose(2, 0, 1))
    with rasterio.open(data_folder / "indian_pines/IndianTR123_temp123.tif") as file:
        mask = file.read(1)
    rows, cols = np.nonzero(mask)
    model = CNNClassifier(epochs=5, random_state=0)
    model.fit(Windows(cube, rows, cols, 9), mask[rows, cols])
    same_map(model, Scene(xr.DataArray(cube, dims=("band", "y", "x"))))
