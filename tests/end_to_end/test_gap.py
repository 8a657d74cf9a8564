"""One call measures the leak gap, and every number in it is that of its trials."""

import csv
import json
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest

import hypercover as hc
from hypercover.jobs.task_files import result_of

SPLITS = {"random": "random", "centre-free": "centre-free", "overlap-free": "main"}
WINDOW, SEEDS = 5, (3, 4)


@pytest.fixture(scope="module")
def gap(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """Two seeds of an SVM and of a small CNN under the three splits."""
    folder = tmp_path_factory.mktemp("gap")
    models = {"svm": desk.models["svm"], "cnn": desk.models["cnn"] | {"epochs": 1}}
    path = desk.experiment(scene, folder, models=models, map=False)
    command = ("gap", path, "-o", folder / "run", "--size", 8, "--repeats", 2)
    ended = desk.shell(*command, "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    return SimpleNamespace(
        folder=folder / "run",
        path=path,
        command=command,
        out=ended.stdout,
        **metrics["gap"],
    )


def test_accuracies_are_those_of_the_trials(gap):
    assert len(gap.rows) == 6
    for row in gap.rows:
        split = SPLITS[row["split"]]
        found = [
            result_of(gap.folder, f"train-{split}-{seed}-{row['model']}")["model"]
            for seed in SEEDS
        ]
        shares = [one["overall_accuracy"] for one in found]
        assert row["overall_accuracy"] == pytest.approx(np.mean(shares))
        assert row["spread"] == pytest.approx(np.std(shares, ddof=1))
        random = next(
            one
            for one in gap.rows
            if (one["model"], one["split"]) == (row["model"], "random")
        )
        assert row["fall"] == random["overall_accuracy"] - row["overall_accuracy"]


def test_what_leaks_is_what_brute_force_finds(desk, gap):
    assert gap.window == WINDOW
    for row in gap.rows:
        split = SPLITS[row["split"]]
        centres, overlaps, trained, tested = [], [], [], []
        for repeat in range(2):
            first = split == "main" and repeat == 0
            stem = "split" if first else f"splits/{split}-{repeat}"
            parts = desk.pixels(gap.folder / f"{stem}.tif")
            train, test = (np.argwhere(parts == part) for part in (1, 3))
            near = np.abs(test[:, None] - train[None]).max(axis=2).min(axis=1)
            centres.append(np.mean(near <= WINDOW // 2))
            overlaps.append(np.mean(near <= WINDOW - 1))
            trained.append(len(train))
            tested.append(len(test))
        assert row["centre_in_window"] == pytest.approx(np.mean(centres))
        assert row["window_overlap"] == pytest.approx(np.mean(overlaps))
        assert row["train_count"] == np.mean(trained)
        assert row["test_count"] == np.mean(tested)
        assert (row["centre_in_window"] == 0) == (row["split"] != "random")
        assert (row["window_overlap"] == 0) == (row["split"] == "overlap-free")


def test_all_three_splits_train_on_as_many_pixels(gap):
    counts = {row["split"]: row["train_count"] for row in gap.rows}
    most, least = max(counts.values()), min(counts.values())
    assert most - least <= 0.1 * most


def test_table_file_and_stdout_say_the_same(gap):
    with (gap.folder / "gap.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    texts = ("model", "split")
    read = [
        {key: value if key in texts else float(value) for key, value in line.items()}
        for line in lines
    ]
    assert read == gap.rows
    table = gap.out.partition("Leak gap in %, windows of 5 × 5 pixels")[2]
    said = [line for line in table.splitlines() if line.startswith("│")]
    assert len(said) == len(gap.rows)
    for row, line in zip(gap.rows, said, strict=True):
        mean, spread = 100 * row["overall_accuracy"], 100 * row["spread"]
        assert f"{mean:.1f} ± {spread:.1f}" in line
        assert f"{100 * row['window_overlap']:.1f} " in line
        assert row["split"] in line
        if row["split"] != "random":
            assert f"{100 * row['fall']:.1f} " in line


def test_a_lost_figure_is_drawn_again_and_nothing_is_trained(desk, gap):
    before = {
        path.name: path.read_bytes() for path in gap.folder.glob("tasks/train-*.json")
    }
    (gap.folder / "figures" / "gap.png").unlink()
    again = desk.here(*gap.command, "--workers", 1)
    assert again.code == 0
    assert (gap.folder / "figures" / "gap.png").exists()
    assert again.out == gap.out
    after = {path.name: path.read_bytes() for path in gap.folder.glob("tasks/train-*.json")}
    assert after == before


@pytest.mark.slow
def test_killed_and_continued_it_comes_to_the_same(desk, gap, tmp_path):
    """SIGKILL after some trials; the same command does the rest."""
    command = [*map(str, gap.command), "--workers", "1"]
    command[command.index("-o") + 1] = str(tmp_path)
    process = subprocess.Popen(
        [str(desk.command), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=desk.environment,
        preexec_fn=desk.on_two_cores,
    )
    give_up = time.monotonic() + 300
    while not (tmp_path / "tasks" / "train-random-4-svm.json").exists():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (tmp_path / "gap.csv").exists()
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("tasks/train-*.json")}
    again = desk.shell(*command)
    assert again.returncode == 0, again.stderr
    found = json.loads((tmp_path / "metrics.json").read_text())["gap"]
    assert found["rows"] == gap.rows
    for name, content in kept.items():
        assert (tmp_path / "tasks" / name).read_bytes() == content


def test_python_returns_what_the_command_left(gap):
    found = hc.experiment.leak_gap(gap.path, gap.folder, size=8, repeats=2, workers=1)
    assert found == {"window": gap.window, "rows": gap.rows}


def test_a_run_without_a_gap_leaves_none(desk, gap, scene, call, tmp_path):
    path = desk.experiment(scene, tmp_path, models={"svm": {"kind": "svm"}}, map=False)
    run = tmp_path / "run"
    assert call("gap", path, "-o", run, "--size", 8, "--workers", 1).code == 0
    assert (run / "gap.csv").exists()
    assert call("run", path, "-o", run).code == 0
    assert "gap" not in json.loads((run / "metrics.json").read_text())
    assert not (run / "gap.csv").exists()
    assert not (run / "figures" / "gap.png").exists()


@pytest.mark.parametrize("options", [("--train", "1.5"), ("--train", "0")])
def test_a_share_that_cannot_be_is_one_sentence(desk, scene, call, tmp_path, options):
    path = desk.experiment(scene, tmp_path)
    sentence = call("gap", path, "-o", tmp_path / "run", *options).sentence
    assert "split.train should be" in sentence
    assert not (tmp_path / "run").exists()
