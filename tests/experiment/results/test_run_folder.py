"""What a run leaves, and what of it is still its own."""

import pytest

from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.results.run_folder import (
    RunFolder,
    remove_drafts,
    remove_stale_outputs,
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "maps").mkdir()
    return RunFolder(tmp_path)


def experiment(run, *models, **changes):
    (run.path / "cube.npy").write_bytes(b"")
    document = {
        "name": "fields",
        "scene": {"path": "cube.npy"},
        "split": {"kind": "random", "validation": 0.2},
        "models": {name: {"kind": "svm"} for name in models},
    }
    return parse(document | changes, run.path)


def maps(run):
    return sorted(path.name for path in (run.path / "maps").iterdir())


@pytest.mark.parametrize(
    ("now", "left"),
    [
        ({}, ["a-b.tif", "a-check.tif", "a.tif"]),
        ({"map": "best"}, ["a-b.tif", "a-check.tif", "a.tif"]),
        ({"map": False}, ["a-b.tif"]),
    ],
)
def test_only_maps_of_models_that_were_mapped_are_removed(run, now, left):
    """A file of somebody else's, named like a model with a dash, stays."""
    for name in ("a.tif", "a-check.tif", "a-b.tif"):
        (run.path / "maps" / name).write_text("map")
    remove_stale_outputs(run, experiment(run, "a"), experiment(run, "a", **now))
    assert maps(run) == left


def test_a_model_that_left_takes_its_maps_along(run):
    for name in ("a.tif", "a.qml", "a.tif.aux.xml", "b.tif", "b-confidence.tif"):
        (run.path / "maps" / name).write_text("map")
    remove_stale_outputs(run, experiment(run, "a", "b"), experiment(run, "b"))
    assert maps(run) == ["b-confidence.tif", "b.tif"]


def test_a_model_that_left_takes_all_along_that_is_its_own(run):
    gone = [
        "models/a/model.json",
        "models/a/weights.safetensors",
        "predictions/main-0-a.npz",
        "figures/classes-a.png",
    ]
    kept = [
        "models/b/model.json",
        "predictions/main-0-b.npz",
        "figures/classes-b.png",
        "figures/classes-a-b.png",
    ]
    for name in (*gone, *kept):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_text("")
    remove_stale_outputs(run, experiment(run, "a", "b"), experiment(run, "b"))
    left = {
        str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()
    }
    assert left == {"cube.npy", *kept}


def test_splits_that_left_take_along_what_was_tested_on_them(run):
    """Folds give way to one split: three draws less, and one beside it."""
    kfold = {"split": {"kind": "kfold", "folds": 3}, "beside": {"easy": {"kind": "random"}}}
    gone = [
        "splits/main-1.tif",
        "splits/main-1.tif.aux.xml",
        "splits/main-1.json",
        "splits/easy-0.tif",
        "splits/easy-0.json",
        "figures/split-easy.png",
        "predictions/main-2-a.npz",
        "predictions/easy-0-a.npz",
    ]
    kept = [
        "split.tif",
        "split.json",
        "splits/mine-1.tif",
        "predictions/main-0-a.npz",
        "splits/main-2.tif",
        "splits/main-2.json",
    ]
    for name in (*gone, *kept):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_text("")
    saved = {"saved": {"kind": "saved", "path": "splits/main-2.json"}}
    before = experiment(run, "a", **kfold)
    remove_stale_outputs(run, before, experiment(run, "a", beside=saved))
    left = {
        str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()
    }
    assert left == {"cube.npy", *kept}


def test_only_drafts_are_swept(run):
    names = [
        ".a.12-0.part.tif",
        ".a.12-0.part",
        "a.part.tif",
        ".b.part",
        ".hidden",
        "a.tif",
    ]
    for name in names:
        (run.path / "maps" / name).write_text("")
    remove_drafts(run)
    assert maps(run) == sorted(names[2:])
