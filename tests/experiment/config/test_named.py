"""The scene of a named experiment: what is found is said, what is missing as well."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from hypercover.errors import SceneError
from hypercover.experiment.config.experiment_file import built_in, load_experiment
from hypercover.experiment.config.presets import NAMED, default_folders, named_scene
from hypercover.experiment.run import check_search
from hypercover.scene.datasets.discovery import SIGNATURES, LabelFit
from hypercover.scene.simulation.simulate import SimulationSettings

STAND_IN = "indian_pines_rank37_reconstruction.npz"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Image and labels of the size of Indian Pines, in a folder whose name YAML dislikes."""
    monkeypatch.setitem(
        SIGNATURES,
        "indian-pines",
        replace(SIGNATURES["indian-pines"], fit=lambda codes: LabelFit(0, "the map")),
    )
    chance = np.random.default_rng(0)
    folder = tmp_path / 'odd: "name" #1'
    folder.mkdir()
    cube = chance.integers(900, 9000, (145, 145, 200)).astype(np.uint16)
    labels = chance.integers(0, 17, (145, 145)).astype(np.uint8)
    savemat(folder / "x.mat", {"u": cube, "v": labels})
    return folder


@pytest.fixture
def said():
    return []


def test_every_named_experiment_is_there_and_says_so_in_its_name():
    assert set(built_in()) == set(NAMED)
    for name, path in built_in().items():
        assert f"\nname: {name}\n" in path.read_text()
        assert NAMED[name].scene in {"", *SIGNATURES}


def test_what_is_found_is_said_and_runs_by_hand(files, said, tmp_path):
    changes = named_scene("lecture-small", tmp_path / "run", data=[files], say=said.append)
    experiment = load_experiment("lecture-small", changes)
    assert experiment.scene.path == experiment.scene.labels == files / "x.mat"
    assert (experiment.scene.variable, experiment.scene.label_variable) == ("u", "v")
    assert said == [
        f"Image: {files}/x.mat, 145 × 145 pixels × 200 bands: Indian Pines by size alone, by "
        "its size.",
        f"Labels: {files}/x.mat: the map.",
    ]
    assert experiment.scene.name == "Indian Pines by size alone"
    assert not (tmp_path / "run").exists()


def test_the_lecture_is_searched_with_its_smallest_class(data_folder, said, tmp_path):
    """Oats have 20 pixels, a tenth of which are fewer than the ten folds."""
    changes = named_scene(
        "lecture-small", tmp_path, data=[data_folder], choice="stand-in", say=said.append
    )
    check_search(load_experiment("lecture-small", changes))


@pytest.mark.parametrize("choice", ["auto", "stand-in"])
def test_the_stand_in_bears_its_name(data_folder, said, tmp_path, choice):
    changes = named_scene(
        "lecture-small", tmp_path, data=[data_folder], choice=choice, say=said.append
    )
    scene = load_experiment("lecture-small", changes).scene
    assert (scene.path.name, scene.name) == (STAND_IN, "Indian Pines stand-in")
    assert "Indian Pines stand-in, by its values" in said[0]


def test_the_real_one_wins(files, data_folder, said, tmp_path):
    folders = [data_folder, files]
    changes = named_scene("lecture-small", tmp_path, data=folders, say=said.append)
    assert load_experiment("lecture-small", changes).scene.path == files / "x.mat"


def test_a_missing_scene_is_simulated_and_kept(said, tmp_path, monkeypatch):
    small = replace(NAMED["lecture-small"], simulated=SimulationSettings(48, 48, 12, 3))
    monkeypatch.setitem(NAMED, "lecture-small", small)
    run, empty = tmp_path / "run", tmp_path / "empty"
    empty.mkdir()
    changes = named_scene("lecture-small", run, data=[empty], say=said.append)
    assert "Indian_pines_corrected.mat (https://www.ehu.eus/" in said[0]
    assert said[0].endswith("A simulated scene takes its place.")
    cube = run / "scene" / "simulated-0.tif"
    assert said[1] == f"Image (simulated): {cube}"
    made = cube.stat().st_mtime_ns
    assert named_scene("lecture-small", run, choice="simulated", say=said.append) == changes
    assert cube.stat().st_mtime_ns == made
    cube.with_name("simulated-0-labels.tif").unlink()
    named_scene("lecture-small", run, choice="simulated", say=said.append)
    assert cube.with_name("simulated-0-labels.tif").exists()
    assert load_experiment("lecture-small", changes).scene.path == cube


@pytest.mark.parametrize(
    ("name", "choice", "words"),
    [
        (
            "lecture-small",
            "real",
            r"No image of Indian Pines was found in .*empty: put Indian_pines_corrected\.mat "
            r"\(https://\S+\) or Indian_pines\.mat \(https://\S+\) and Indian_pines_gt\.mat "
            r"\(https://\S+\) into one of them or name their folder with --data\.",
        ),
        (
            "lecture-small",
            "stand-in",
            r"No stand-in for the image of Indian Pines .*--scene out\.",
        ),
        (
            "lecture-full",
            "auto",
            r"NS-line\.tif \(https://doi\.org/10\.4231/R7RX991C\) and \S+NS-line_gr\.tif "
            r"\(https://doi\.org/10\.4231/R7RX991C\) into .* a "
            r"scene of 1417 × 617 pixels, 220 bands and 58 classes \(367 MiB\) simulated with "
            r"--scene simulated\.",
        ),
        ("rome", "real", r"No image of Rome .*the lecture cites EUDAT B2SHARE"),
        ("demo", "real", r"demo is always simulated; leave --scene out\."),
    ],
)
def test_what_is_missing_is_one_sentence(tmp_path, said, name, choice, words):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SceneError) as caught:
        named_scene(name, tmp_path / "run", data=[empty], choice=choice, say=said.append)
    assert re.search(words, str(caught.value))
    assert not (tmp_path / "run").exists()


def test_an_image_without_labels_is_told(files, said, tmp_path, monkeypatch):
    monkeypatch.setitem(
        SIGNATURES,
        "indian-pines",
        replace(SIGNATURES["indian-pines"], fit=lambda codes: None),
    )
    with pytest.raises(SceneError, match=r"No labels for .*x\.mat were found"):
        named_scene("lecture-small", tmp_path, data=[files], choice="real", say=said.append)


def test_folders_that_are_looked_through_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HYPERCOVER_DATA", raising=False)
    names = [str(folder) for folder in default_folders()]
    assert names == ["."]
    (tmp_path / "data").mkdir()
    (tmp_path / "hypercover").mkdir()
    monkeypatch.setenv("HYPERCOVER_DATA", "/told")
    names = [str(folder) for folder in default_folders()]
    assert names == ["/told", "data", ".", str(tmp_path / "hypercover")]
