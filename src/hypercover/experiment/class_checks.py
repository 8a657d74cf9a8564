"""The task that shows how each class fares: accuracies by size, and confused spectra."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypercover.evaluation.confused import most_confused
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.setting import Setting
from hypercover.files import read_sealed
from hypercover.scene.origin import mark

__all__ = ["check_classes"]


def check_classes(folder: Path) -> dict[str, Any]:
    """Draw per-class accuracies and the spectra of confused classes, model by model.

    Of the main split; repeats are joined: accuracies as the metrics hold them,
    confused pixels over all seeds.
    """
    setting = Setting.of(folder)
    metrics = read_sealed(setting.folder.metrics.read_bytes())
    confused = {}
    for name, model in metrics["models"].items():
        said = mark(setting.scene.origin)
        title = f"{name} ({said})" if said else name
        _draw_classes(setting, name, model, title)
        confused[name] = _draw_confused(setting, name, title)
    return {"confused": confused}


def _draw_classes(
    setting: Setting, name: str, model: Mapping[str, Any], title: str
) -> None:
    """Draw the accuracy of each class under one model."""
    from hypercover.maps import draw

    figure = draw.draw_classes(
        model["per_class"],
        title=f"{title}: how well each class is found",
        overall=model["overall_accuracy"],
        interval=model.get("interval"),
    )
    draw.save(figure, setting.folder.figure(f"classes-{name}"))


def _draw_confused(setting: Setting, name: str, title: str) -> list[list[int]]:
    """Draw the classes that a model confuses most; return their codes, worst first."""
    from hypercover.maps import draw

    run, path = setting.folder, setting.folder.figure(f"confused-{name}")
    seeds = setting.experiment.draws("main")
    answers = [Predictions.load(run.predictions("main", seed, name)) for seed in seeds]
    pairs = most_confused(answers)
    if pairs:
        what = "the classes it confuses most"
        figure = draw.draw_confused(setting.scene, pairs, title=f"{title}: {what}")
        draw.save(figure, path)
    else:
        # Nothing was confused; a figure of an earlier run would say otherwise.
        path.unlink(missing_ok=True)
    return [[pair.first, pair.second] for pair in pairs]
