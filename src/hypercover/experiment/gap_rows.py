"""The rows of a leak gap: every model under every split, with what leaks and what is lost."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, cast

from hypercover.experiment.folder import RunFolder
from hypercover.experiment.schema import BlocksSpec, Experiment
from hypercover.files import csv_text, write_text
from hypercover.samples.leakage import audit
from hypercover.samples.split import Split
from hypercover.scene.origin import marked

__all__ = ["gap_rows", "show_gap"]

_SPLITS = {"random": "random", "centre-free": "centre-free", "overlap-free": "main"}
"""What a split of the gap is called, and its name in the experiment."""


def show_gap(
    run: RunFolder, experiment: Experiment, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the table and the figure of a leak gap; return it as a key of the metrics.

    Where the experiment asks for none, what an earlier one left is removed.
    """
    figure = run.figure("gap")
    if not experiment.gap:
        for stale in (run.gap, figure):
            stale.unlink(missing_ok=True)
        return {}
    from hypercover.maps import draw

    window, rows = gap_rows(run, experiment, metrics)
    write_text(run.gap, _csv(rows))
    scene = metrics["scene"]
    title = marked(scene["name"], scene)
    drawn = draw.draw_gap(rows, window=window, title=title, repeats=experiment.repeats)
    draw.save(drawn, figure)
    return {"gap": {"window": window, "rows": rows}}


def gap_rows(
    run: RunFolder, experiment: Experiment, metrics: Mapping[str, Any]
) -> tuple[int, list[dict[str, Any]]]:
    """Return the window that the splits were made for, and one row a model and split."""
    window = int(cast(BlocksSpec, experiment.split).guard) + 1
    parts = {"main": metrics} | metrics["beside"]
    facts = {
        said: _facts(run, experiment, split, window) for said, split in _SPLITS.items()
    }
    found = {said: parts[split]["models"] for said, split in _SPLITS.items()}
    rows = [
        {"model": model, "split": said}
        | facts[said]
        | _scores(found[said][model], found["random"][model])
        for model in experiment.models
        for said in _SPLITS
    ]
    return window, rows


def _facts(
    run: RunFolder, experiment: Experiment, split: str, window: int
) -> dict[str, Any]:
    """Say in the mean over the seeds what a split leaves, and what a window lets leak."""
    repeats = range(experiment.repeats)
    made = [Split.load(*run.split(split, repeat)) for repeat in repeats]
    leaks = [audit(one, window) for one in made]
    return {
        "train_count": fmean(one.count("train") for one in made),
        "test_count": fmean(one.count("test") for one in made),
        "centre_in_window": fmean(leak.centre_in_window or 0.0 for leak in leaks),
        "window_overlap": fmean(leak.window_overlap or 0.0 for leak in leaks),
    }


def _scores(model: Mapping[str, Any], random: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a model reaches, and how far that is below random pixels."""
    return {
        "overall_accuracy": model["overall_accuracy"],
        "spread": (model["spread"] or {}).get("overall_accuracy"),
        "fall": random["overall_accuracy"] - model["overall_accuracy"],
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table; what is not known stays empty."""
    columns = list(rows[0])
    return csv_text([columns, *([row[column] for column in columns] for row in rows)])
