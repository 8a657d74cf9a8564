"""Experiments through a real Slurm: the same figures, to the bit, as on this machine."""

import json
import re
from pathlib import Path

import pytest

FOREST = {
    "kind": "sklearn",
    "estimator": "sklearn.ensemble.RandomForestClassifier",
    "parameters": {"n_estimators": 15},
}
GRID = {
    "C": [1, 10, 100, 1000, 10000],
    "gamma_scale": [0.25, 0.5, 1, 2, 4],
    "folds": 10,
    "by": ["random"],
}


def same_files(here: Path, there: Path, *patterns: str) -> None:
    """Check that all files of these names are there in both folders and the same."""
    for pattern in patterns:
        names = {path.relative_to(here) for path in here.glob(pattern)}
        assert names == {path.relative_to(there) for path in there.glob(pattern)} != set()
        for name in names:
            assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_an_experiment_comes_to_the_same_on_slurm(desk, cluster, scene, tmp_path):
    models = {"svm": {"kind": "svm"}, "forest": FOREST}
    path = desk.experiment(scene, tmp_path, models=models, map=False)
    folder = tmp_path / "sent"
    said = cluster.call(
        "submit",
        path,
        "-o",
        folder,
        "--scheduler",
        "slurm",
        "--array-chunk",
        2,
        "--time",
        "10min",
        "--mem",
        "500MB",
    )
    assert "3 tasks in 2 elements" in said
    assert "3-reduce: job" in said
    local = desk.shell("run", path, "-o", tmp_path / "here", "--workers", 1)
    assert local.returncode == 0, local.stderr
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert "8 tasks: 8 done." in watched, (watched, cluster.outputs(folder))
    assert desk.figures_of(folder) == desk.figures_of(tmp_path / "here")
    same_files(tmp_path / "here", folder, "models/*/*", "predictions/*", "split.*")
    assert "All 8 tasks are done" in cluster.call("resume", folder)


@pytest.mark.slow
def test_two_models_with_maps_come_to_the_same_on_slurm(desk, cluster, scene, tmp_path):
    models = {"svm": desk.models["svm"], "cnn": desk.models["cnn"]}
    path = desk.experiment(scene, tmp_path, models=models, repeats=2, map_from="all")
    local = desk.shell("run", path, "-o", tmp_path / "here", "--workers", 1)
    assert local.returncode == 0, local.stderr
    folder = tmp_path / "sent"
    cluster.call("submit", path, "-o", folder, "--scheduler", "slurm", "--array-chunk", 1)
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert re.search(r"(\d+) tasks: \1 done\.", watched), (watched, cluster.outputs(folder))
    assert desk.figures_of(folder) == desk.figures_of(tmp_path / "here")
    same_files(tmp_path / "here", folder, "models/**/weights.safetensors", "predictions/*")
    same_files(tmp_path / "here", folder, "maps/*.tif")


@pytest.mark.slow
def test_a_search_of_25_cells_and_10_folds_comes_to_the_same_on_slurm(
    desk, cluster, scene, tmp_path
):
    path = desk.experiment(scene, tmp_path, models={"svm": {"kind": "svm"}}, search=GRID)
    local = desk.shell("search", path, "-o", tmp_path / "here")
    assert local.returncode == 0, local.stderr
    folder = tmp_path / "sent"
    said = cluster.call(
        "submit", path, "-o", folder, "--search", "--scheduler", "slurm", "--array-chunk", 1
    )
    assert "5 tasks in 5 elements" in said
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert "7 tasks: 7 done." in watched, (watched, cluster.outputs(folder / "search"))
    assert counts(folder) == counts(tmp_path / "here")


def counts(folder: Path) -> list:
    """Return all of a search but the times."""
    tables = json.loads((folder / "search.json").read_text())["tables"]
    timed = {"minutes", "serial_seconds", "wall_seconds", "speed_up"}

    def untimed(facts: dict) -> dict:
        return {key: value for key, value in facts.items() if key not in timed}

    return [untimed(table) | {"best": untimed(table["best"])} for table in tables]
