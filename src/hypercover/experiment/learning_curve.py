"""The learning curve of a run: accuracy against the share that trains."""

from collections.abc import Mapping
from typing import Any

from hypercover.experiment.folder import RunFolder
from hypercover.experiment.schema import Experiment
from hypercover.scene.origin import mark

__all__ = ["curve_rows", "show_curve"]


def show_curve(
    run: RunFolder,
    experiment: Experiment,
    parts: Mapping[str, Any],
    scene: Mapping[str, Any],
) -> dict[str, Any]:
    """Draw the learning curve of a run; return its keys of the metrics.

    Where the experiment asks for none, the figure of an earlier one is removed.

    Parameters
    ----------
    parts : split and models of each share, by the name of its split
    scene : what the metrics say of the scene
    """
    figure = run.figure("curve")
    if not parts:
        figure.unlink(missing_ok=True)
        return {}
    from hypercover.maps import draw

    rows = curve_rows(experiment, parts)
    said = mark(scene)
    title = f"{scene['name']} ({said})" if said else str(scene["name"])
    draw.save(draw.draw_curve(rows, title=title), figure)
    return {"curve": {"rows": rows}, "learning_curve": dict(parts)}


def curve_rows(experiment: Experiment, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a model and share, shares ascending."""
    shares = sorted(zip(experiment.learning_curve, experiment.curve_splits, strict=True))
    return [
        {"model": model, "train": share, **_score(parts[split]["models"][model])}
        for model in experiment.models
        for share, split in shares
    ]


def _score(model: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a model reaches, and how sure that is."""
    return {
        "overall_accuracy": model["overall_accuracy"],
        "spread": (model["spread"] or {}).get("overall_accuracy"),
        "interval": (model.get("interval") or {}).get("overall_accuracy"),
    }
