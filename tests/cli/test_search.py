"""``hypercover search``: its tables, its sentences, and what a killed one goes on with."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
import yaml
from rich.console import Console

from hypercover.figures.formatting import format_cell, suggest_wider_grid

GRID = {"C": [1, 10], "gamma_scale": [0.5, 2], "folds": 3, "size": 8, "guard": 2}


@pytest.fixture
def grid(fields):
    """Return a maker of experiment files with a small grid."""

    def made(**changes):
        document = yaml.safe_load(fields.experiment.read_text())
        changes["search"] = GRID | changes.get("search", {})
        path = fields.folder / "grid.yaml"
        path.write_text(yaml.safe_dump(document | changes))
        return path

    return made


def figures(folder):
    tables = json.loads((folder / "search.json").read_text())["tables"]
    return [
        (table["kind"], table["gamma"], table["C"], table["accuracy"]) for table in tables
    ]


def test_the_outcome_is_the_table_of_the_lecture(call, grid, tmp_path):
    path, folder = grid(), tmp_path / "run"
    called = call("search", path, "-o", folder)
    assert called.code == 0, called.err
    lines = called.out.splitlines()
    assert "svm: accuracy in % (minutes), 3 random folds" in lines
    assert (
        "svm: accuracy in % (minutes), 3 folds by blocks of 8 px with a guard of 2 px"
        in lines
    )
    table = json.loads((folder / "search.json").read_text())["tables"][0]
    head = next(line for line in lines if "gamma \\ C" in line)
    assert [word for word in head.split() if word.isdigit()] == ["1", "10"]
    for row, scale in enumerate(("0.5", "2")):
        line = next(line for line in lines if f"(scale × {scale})" in line and "│" in line)
        for pair in zip(table["accuracy"][row], table["minutes"][row], strict=True):
            assert format_cell(*pair) in line
    stars = [line for line in lines if " *" in line]
    assert len(stars) == 2
    best = table["best"]
    assert f"{format_cell(best['accuracy'], best['minutes'])} *" in stars[0]
    assert "serial sum" in called.out
    assert "wall time" in called.out
    assert "speed-up" in called.out or "too small to gain" in called.out
    assert "svm: from random folds to blocks the best cell" in called.out
    grids = json.loads((folder / "search.json").read_text())["tables"]
    ways = [line for line in lines if line.startswith("The best cell is on the edge")]
    assert ways == [words for grid in grids for words in suggest_wider_grid(grid)]
    assert f"Table: {folder / 'search.csv'}" in lines
    assert f"Picture: {folder / 'figures' / 'search-svm-blocks.png'}" in lines


def test_the_line_to_take_over_works(call, grid, tmp_path):
    path, folder = grid(), tmp_path / "run"
    out = call("search", path, "-o", folder, "--set", "search.C=[1, 5]").out
    line = next(line for line in out.splitlines() if line.startswith("To use the best"))
    best = json.loads((folder / "search.json").read_text())["tables"][1]["best"]
    assert line.startswith(f"To use the best by blocks: hypercover run {path} -o {folder} ")
    assert f"--set models.svm.C={best['C']:g} --set models.svm.gamma=" in line
    assert "--set 'search.C=[1, 5]'" in line
    words = shlex.split(line.partition("hypercover ")[2])
    called = call(*words, "--set", "map=false")
    assert called.code == 0, called.err
    assert f"Report: {folder / 'report.html'}" in called.out
    report = call("search", path, "-o", folder, "--set", "search.C=[1, 5]").out
    assert f"Report: {folder / 'report.html'}" in report


def test_progress_says_what_came_and_what_is_left(call, grid, tmp_path):
    err = call("search", grid(), "-o", tmp_path / "run").err
    row = next(line for line in err.splitlines() if "search-svm-random-scale-0.5" in line)
    assert "C 1 " in row
    assert "C 10 " in row
    assert row.endswith(" left")
    assert err.splitlines()[-1].startswith("[100 %] search: done")


def test_a_terminal_sees_the_table_fill(grid, tmp_path):
    from hypercover.cli.search import _Watcher
    from hypercover.experiment.config.experiment_file import load_experiment
    from hypercover.experiment.results.run_folder import SearchFolder
    from hypercover.experiment.run import run_search

    experiment, screens = load_experiment(grid()), []
    console = Console(width=120, record=True)
    watcher = _Watcher(experiment, SearchFolder(tmp_path / "run"))

    def watch(event):
        with console.capture() as seen:
            console.print(watcher.screen(event))
        screens.append(seen.get())

    run_search(experiment, tmp_path / "run", progress=watch)
    cells = [len(re.findall(r"\d\.\d\d \(", screen)) for screen in screens]
    assert cells == sorted(cells)
    assert (cells[0], cells[-1]) == (0, 8)
    assert len(set(cells)) == 5
    assert "100 %" in screens[-1]


FOREST = {"kind": "sklearn", "estimator": "sklearn.ensemble.RandomForestClassifier"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"models": {"forest": FOREST}}, "Only models of kind svm have a C and a gamma"),
        ({"search": {"C": []}}, "search.C must name at least one value, got []"),
        ({"search": {"C": [1, -10]}}, "search.C.1 should be greater than 0, got -10"),
        ({"search": {"gamma": [0]}}, "search.gamma.0 should be greater than 0, got 0"),
        (
            {"search": {"folds": 999}},
            "samples, fewer than the 999 folds; use at most",
        ),
        (
            {"search": {"folds": 5, "size": 500, "by": ["blocks"]}},
            "in 1 block of 500 × 500 pixels",
        ),
        (
            {"search": {"guard": 500, "by": ["blocks"]}},
            "A guard of 500 pixels leaves 0 of 3",
        ),
        (
            {"models": {"svm": {"kind": "cnn", "C": "search"}}},
            "models.svm.C is an unknown key",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(call, grid, tmp_path, changes, sentence):
    called = call("search", grid(**changes), "-o", tmp_path / "run")
    assert sentence in called.sentence
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_one_sentence(call, grid, tmp_path):
    folder = tmp_path / "run"
    assert call("search", grid(), "-o", folder).code == 0
    refused = call("search", grid(name="other"), "-o", folder).sentence
    assert "holds the experiment fields on" in refused
    assert "choose another folder with -o" in refused
    (tmp_path / "file").write_text("")
    assert "choose another" in call("search", grid(), "-o", tmp_path / "file").sentence


def test_a_spoilt_search_spoils_no_report_unsaid(call, grid, tmp_path):
    path, folder = grid(map=False), tmp_path / "run"
    assert call("search", path, "-o", folder).code == 0
    assert call("run", path, "-o", folder).code == 0
    for content in (
        b"{",
        b'{"tables": [{"C": [1], "gamma": [1], "accuracy": [], "minutes": []}]}',
    ):
        (folder / "search.json").write_bytes(content)
        said = call("report", folder).sentence
        assert "search.json was changed or damaged" in said
        assert "search the experiment again" in said
    assert call("search", path, "-o", folder).code == 0
    assert call("report", folder).code == 0


def begun(path, folder, until):
    """Begin a search in a process of its own and return when so many rows are kept."""
    program = "from hypercover.cli.main import main; main()"
    command = [sys.executable, "-c", program, "search", str(path), "-o", str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    give_up = time.monotonic() + 300
    while len(list(folder.glob("search/cells-*"))) < until:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.002)
    return process


@pytest.fixture
def long_grid(grid):
    """A grid of many rows, so that there is time to kill its search."""
    steps = [round(0.1 * 1.1**step, 6) for step in range(30)]
    return grid(search={"gamma_scale": steps, "by": ["random"], "folds": 5})


def test_a_killed_search_repeats_no_finished_row(call, long_grid, tmp_path):
    folder = tmp_path / "run"
    process = begun(long_grid, folder, 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "search.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("search/cells-*.json")}
    assert 3 <= len(kept) < 30
    assert call("search", long_grid, "-o", folder).code == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert call("search", long_grid, "-o", tmp_path / "whole").code == 0
    assert figures(folder) == figures(tmp_path / "whole")
    assert not list(folder.rglob(".*.part*"))


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_says_how_to_go_on(long_grid, tmp_path):
    process = begun(long_grid, tmp_path / "run", 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert out == ""
    assert (
        err.splitlines()[-1] == "hypercover: stopped; run the same command again to resume."
    )
    assert "Traceback" not in err


@pytest.mark.slow
def test_scaling_is_shown_as_the_lecture_shows_it(call, grid, tmp_path):
    path = grid(search={"by": ["random"], "C": [1], "gamma_scale": [1]})
    answer = call("search", path, "-o", tmp_path / "run", "--scaling", "2")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    head = next(line for line in lines if "serial" in line)
    assert "2 workers" in head
    assert any("(1) best cell:" in line for line in lines)
    assert any("(2) all cells" in line for line in lines)
    assert "Too small to gain" in answer.out
    assert (tmp_path / "run/search-scaling.csv").exists()
    assert (tmp_path / "run/figures/search-scaling.png").stat().st_size > 1000
    wrong = call("search", path, "-o", tmp_path / "run", "--scaling", "two")
    assert wrong.sentence.startswith(
        "--scaling takes numbers of workers separated by commas"
    )
