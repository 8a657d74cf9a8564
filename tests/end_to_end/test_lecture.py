"""The lecture's experiments by name, shrunk to seconds."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import rasterio

from hypercover.experiment.config.presets import NAMED
from hypercover.jobs.task_files import result_of
from hypercover.scene.simulation.simulate import SimulationSettings

pytestmark = pytest.mark.usefixtures("sketched")

FEW = [
    *("--set", "models.cnn-lecture.epochs=1", "--set", "models.cnn.epochs=1"),
    *("--set", "device=cpu"),
]
BANDS = {
    "demo": 12,
    "lecture-small": 35,
    "lecture-class": 35,
    "lecture-full": 35,
    "rome": 5,
}
"""Without those of water absorption, where the experiment drops them."""


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Let all simulated scenes be small, and look for measured ones where none are."""
    sizes = {
        "demo": SimulationSettings(48, 48, 12, 3),
        "lecture-small": SimulationSettings(72, 72, 40, 4),
        "lecture-class": SimulationSettings(72, 72, 40, 4),
        "lecture-full": SimulationSettings(72, 72, 40, 5),
        "rome": SimulationSettings(160, 160, 5, 9, imitates="rome"),
    }
    for name, settings in sizes.items():
        monkeypatch.setitem(NAMED, name, replace(NAMED[name], simulated=settings))
    monkeypatch.delenv("HYPERCOVER_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("name", "words", "models"),
    [
        ("lecture-small", FEW, ["svm", "svm-features", "cnn-lecture", "cnn"]),
        pytest.param(
            "lecture-class",
            [*FEW],
            ["svm", "svm-features", "cnn-lecture", "cnn"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "lecture-full",
            [*FEW[2:], "--scene", "simulated"],
            ["svm-features", "cnn"],
            marks=pytest.mark.slow,
        ),
        ("rome", ["--set", "beside.blocks.size=12"], ["svm", "svm-features"]),
        ("demo", ["--set", "models.cnn.epochs=1"], ["svm", "cnn"]),
    ],
)
def test_each_runs_to_its_end_on_a_simulated_scene(small, call, name, words, models):
    answer = call("run", name, "--set", "map=false", *words)
    assert answer.code == 0, answer.err
    run = small / "runs" / name
    assert f"Image (simulated): {run}/scene/simulated-0.tif" in answer.err
    assert f"{name}: accuracy in % (simulated scene)" in answer.out
    metrics = metrics_of(run)
    assert list(metrics["models"]) == models
    assert metrics["scene"]["simulated"]
    assert metrics["scene"]["bands"] == BANDS[name]
    assert len(metrics["beside"]) == 1
    chains = [name for name in ("lecture", "rome") if (run / "features" / name).exists()]
    counts = {chain: result_of(run, f"features-{chain}")["features"] for chain in chains}
    assert counts == {"demo": {}, "rome": {"rome": 55}}.get(name, {"lecture": 130})


def test_the_same_command_goes_on_and_the_file_it_leaves_runs_by_hand(small, call):
    words = ["--set", "map=false", "--set", "beside={}"]
    assert call("run", "rome", *words).code == 0
    first = metrics_of(small / "runs/rome")
    again = call("run", "rome", *words)
    assert again.code == 0
    assert metrics_of(small / "runs/rome")["created"] == first["created"], (
        "nothing was done anew"
    )
    by_hand = call("run", small / "runs/rome/experiment.yaml", "-o", small / "hand")
    assert by_hand.code == 0, by_hand.err
    found = [
        metrics_of(folder)["models"]["svm"]
        for folder in (small / "runs/rome", small / "hand")
    ]
    assert found[0]["confusion"] == found[1]["confusion"]


def test_a_scene_of_ones_own_drops_what_does_not_apply(small, call):
    """No wavelengths, too few bands for the lecture's network, no room for guarded blocks."""
    rng = np.random.default_rng(0)
    codes = np.kron(rng.integers(1, 4, (6, 6)), np.ones((5, 5), int)).astype(np.uint8)
    cube = rng.normal(codes, 0.1, (12, 30, 30)).astype(np.float32)
    np.save(small / "cube.npy", cube.transpose(1, 2, 0))
    np.save(small / "codes.npy", codes)
    own = ["--set", "scene.path=cube.npy", "--set", "scene.labels=codes.npy"]
    models = ["--set", "models.cnn.epochs=1", "--set", "device=cpu", "--set", "map=false"]
    guard = ["--set", "beside.blocks.guard=30"]
    answer = call("run", "lecture-small", *own, *models, *guard)
    assert answer.code == 0, answer.err
    dropped = (
        "cube carries no wavelengths, so its water-absorption bands are not known and "
        "lecture-small uses all 12 bands.",
        "The model cnn-lecture is left out on this scene: The lecture network needs at least",
        "The split blocks is left out on this scene:",
    )
    for note in dropped:
        assert f"Note: {note}" in answer.err
    metrics = metrics_of(small / "runs/lecture-small")
    assert list(metrics["models"]) == ["svm", "svm-features", "cnn"]
    assert metrics["beside"] == {}
    for note in dropped:
        assert any(each.startswith(note) for each in metrics["notes"])
    alone = call(
        "run", "lecture-small", *own, "--set", "models={net: {kind: cnn, network: lecture}}"
    )
    assert alone.sentence.startswith("The lecture network needs at least 22 bands, got 12")


@pytest.mark.slow
def test_a_search_by_name(small, call):
    answer = call(
        *("search", "rome", "--set", "search.C=[1]", "--set", "search.gamma_scale=[1]"),
        *("--set", "search.folds=2", "--set", "search.by=[random]", "--scene", "simulated"),
    )
    assert answer.code == 0, answer.err
    assert "(simulated scene)" in answer.out
    assert "hypercover run rome --scene simulated --set" in answer.out


def test_the_stand_in_is_labelled_in_everything_that_is_left(data_folder, call, tmp_path):
    """Whatever name it is given: figures, tables, maps, the model, the page."""
    run = tmp_path / "run"
    words = ["--data", data_folder, "-o", run, "--set", "scene.name=Indian Pines"]
    words += ["--set", "beside={}", "--set", "models={svm: {kind: svm}}"]
    answer = call("run", "lecture-small", *words)
    assert answer.code == 0, answer.err
    assert "lecture-small: accuracy in % (stand-in)" in answer.out
    assert "no accuracy on it is a result on Indian Pines" in answer.out
    scene = metrics_of(run)["scene"]
    assert (scene["name"], scene["stand_in"]) == (
        "Indian Pines (Indian Pines stand-in)",
        True,
    )
    page = (run / "report.html").read_text()
    assert "<title>lecture-small (stand-in)" in page
    assert 'class="badge warn">stand-in<' in page
    assert "no figure below is a result for the original image" in page
    assert "svm (stand-in)" in (run / "confusion.csv").read_text()
    for map_file in (run / "maps").glob("*.tif"):
        with rasterio.open(map_file) as raster:
            assert raster.tags()["HYPERCOVER_STAND_IN"] == "yes"
    card = json.loads((run / "models/svm/model.json").read_text())
    assert "stand-in" in json.dumps(card)
    assert "stand-in" in (run / "split.json").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["lecture-smal"],
            "No experiment file lecture-smal was found; give a YAML file or one of "
            "demo, lecture-class, lecture-full, lecture-small, rome.",
        ),
        (
            ["lecture-small", "--scene", "reel"],
            "--scene must be one of auto, real, stand-in, simulated, got reel.",
        ),
        (
            ["lecture-small", "--scene", "real", "--set", "scene.path=a.mat"],
            "--scene is for the named experiments (demo, lecture-small, lecture-class, lecture-full, "
            "rome) without a scene.path of their own; leave it out for lecture-small.",
        ),
        (
            ["fields.yaml", "--data", "here"],
            "--data is for the named experiments (demo, lecture-small, lecture-class, lecture-full, "
            "rome) without a scene.path of their own; leave it out for fields.yaml.",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["run", "gap", "search"])
def test_calls_that_make_no_sense(small, call, verb, words, sentence):
    assert call(verb, *words).sentence == sentence
    assert not (small / "runs").exists()


def test_a_file_of_that_name_comes_first(small, call):
    (small / "rome").write_text("name: mine")
    assert "scene is missing" in call("run", "rome").sentence


def test_a_changed_name_moves_the_scene_along(small, call):
    words = ["--set", "name=mine", "--set", "map=false", "--set", "beside={}"]
    assert call("run", "rome", *words).code == 0
    assert {path.name for path in (small / "runs").iterdir()} == {"mine"}


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("keras") is None and "CI" not in os.environ, reason="Keras is not installed"
)
def test_the_keras_script_learns_from_a_window_file(call, tmp_path):
    """Three classes of clear spectra, of which the training part lacks none; codes with gaps."""
    rng = np.random.default_rng(0)
    codes = np.kron(rng.integers(0, 3, (5, 5)), np.ones((6, 6), int))
    codes = np.array([2, 5, 9], np.uint8)[codes]
    spectra = rng.uniform(0, 100, (10, 30))
    cube = spectra[codes] + rng.normal(0, 1, (30, 30, 30))
    np.save(tmp_path / "cube.npy", cube.astype(np.float32))
    np.save(tmp_path / "codes.npy", codes)
    out = tmp_path / "w.h5"
    made = call(
        "windows",
        tmp_path / "cube.npy",
        "--labels",
        tmp_path / "codes.npy",
        "--axes",
        "row,col,band",
        "--train",
        0.2,
        "-o",
        out,
    )
    assert made.code == 0, made.err
    script = Path(__file__).parents[2] / "examples" / "keras_windows.py"
    answer = subprocess.run(
        [sys.executable, str(script), str(out), "--quick", "--epochs", "4"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    assert answer.returncode == 0, answer.stderr
    last = answer.stdout.splitlines()[-1]
    assert float(last.removeprefix("overall accuracy: ").removesuffix(" %")) > 85
    assert [line.split()[0] for line in answer.stdout.splitlines()[-4:-1]] == [
        "2",
        "5",
        "9",
    ]
