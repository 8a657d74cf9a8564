"""Plain lines of progress, where stderr is no terminal."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from hypercover.cli import run, terminal
from hypercover.jobs.runner import Event


def test_lines_for_what_ends_and_now_and_then_for_what_lasts(capsys, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with run._watching() as watch:
        for clock.now, what, message, done, left in [
            (1.0, "started", "", 0.0, None),
            (2.0, "progress", "epoch 1 of 9", 0.1, 20.0),
            (12.0, "progress", "epoch 4 of 9", 0.4, 15.0),
            (13.0, "progress", "epoch 5 of 9", 0.5, 14.0),
            (14.0, "kept", "", 0.5, 14.0),
            (15.0, "done", "", 1.0, None),
        ]:
            watch(Event("train", what, 0.5, message, done, left))
    assert capsys.readouterr().err.splitlines() == [
        "[ 40 %] train: epoch 4 of 9, 15 s left",
        "[100 %] train: done",
    ]


def test_the_report_of_quick_models_is_named_as_soon_as_it_is_there(capsys):
    with run._watching(Path("runs/a/report.html")) as watch:
        for task in ("reduce-first", "report-first", "report"):
            watch(Event(task, "done", 1.0, "", 0.5, None))
    said = capsys.readouterr().err.splitlines()
    assert said[2] == "First map and report, of the quick models: runs/a/report.html"
    assert len(said) == 4


@pytest.mark.slow
def test_a_first_report_that_is_late_claims_no_file_of_the_last(call, fields):
    """As in job arrays, where it may come after the figures of all models."""
    folder = fields.folder / "run"
    network = "models.cnn={kind: cnn, network: spectral-1d, window: 1, epochs: 1}"
    planned = call(
        "plan",
        fields.experiment,
        "-o",
        folder,
        "--ready",
        "--set",
        network,
        "--set",
        "map_from=split",
    )
    assert planned.code == 0, planned.err
    order = [
        task["name"]
        for task in json.loads((folder / "tasks/plan.json").read_text())["tasks"]
    ]
    early = [name for name in order if name not in ("report-first", "report")]
    for names in (early, ["report-first"], ["report"]):
        assert call("work", folder, "--tasks", ",".join(names)).code == 0
    assert f"{len(order)} tasks: {len(order)} done." in call("status", folder).out
