"""What a run says of its calibration: joined over seeds, drawn, and put in words."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from hypercover.evaluation.calibration import abstention_curve
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.calibrate import ENOUGH
from hypercover.experiment.folder import RunFolder

__all__ = ["calibration_notes", "draw_calibration", "join_calibration", "pooled_abstention"]

_EACH = (
    *("temperature", "proposed", "fitted_on", "patches"),
    *("error", "error_before", "error_proposed"),
)

Figures = Mapping[str, Any]


def join_calibration(results: Sequence[Figures], seeds: Sequence[int]) -> dict[str, Any]:
    """Join the calibration of one model over its seeds, as the ``calibration`` of a run.

    Each seed has a temperature of its own, so errors are means over the seeds,
    never those of the pooled pixels: one seed that is too sure and one that is
    too modest do not make an honest one.  The pixels of the bins are pooled, and
    the accuracies of the abstention curve averaged.  Nothing where a seed has none.
    """
    found = [result.get("calibration") for result in results]
    if not all(found):
        return {}
    every = [each for each in found if each is not None]
    return {
        "calibration": {
            **{name: _mean([each.get(name) for each in every]) for name in _EACH},
            "by": every[0].get("by"),
            "error_before": _before(every),
            "fitted_on": round(fmean(each["fitted_on"] for each in every)),
            "patches": min(each["patches"] for each in every),
            "bins": [
                _pooled(rows)
                for rows in zip(*(each["bins"] for each in every), strict=True)
            ],
            "abstention": [
                {
                    "kept": rows[0]["kept"],
                    "accuracy": fmean(row["accuracy"] for row in rows),
                }
                for rows in zip(*(each["abstention"] for each in every), strict=True)
            ],
            "repeats": [
                {"seed": seed, **{name: each.get(name) for name in _EACH}}
                for seed, each in zip(seeds, every, strict=True)
            ],
        }
    }


def pooled_abstention(answers: Sequence[Predictions]) -> dict[str, Any]:
    """Return the abstention curve of folds, as a key of their ``calibration``.

    A map leaves its unsure pixels open wherever they lie, not as many in each
    fold: the pixels of all folds of a seed stand in one order.  Over several
    seeds the curve is the mean.

    Parameters
    ----------
    answers : those of each seed, its folds together
    """
    curves = [
        abstention_curve(one.confidence, one.right)
        for one in answers
        if one.confidence is not None
    ]
    return {
        "abstention": [
            {"kept": points[0][0], "accuracy": fmean(accuracy for _, accuracy in points)}
            for points in zip(*curves, strict=True)
        ]
    }


def _before(every: Sequence[Figures]) -> float | None:
    """Average the error of the models' own confidences, where any of them is scaled."""
    if all(each["temperature"] is None for each in every):
        return None
    own = [each["error_before"] for each in every]
    return _mean(
        [
            each["error"] if error is None else error
            for each, error in zip(every, own, strict=True)
        ]
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _pooled(rows: Sequence[Figures]) -> dict[str, Any]:
    """Join one bin over the seeds, each by its pixels."""
    count = sum(row["count"] for row in rows)
    means = {
        name: sum(row["count"] * row[name] for row in rows if row["count"]) / count
        if count
        else None
        for name in ("confidence", "accuracy")
    }
    return {"low": rows[0]["low"], "high": rows[0]["high"], "count": count, **means}


def calibration_notes(main: Figures) -> list[str]:
    """Say where the confidences under the main split were not scaled, or on little."""
    calibrated = {
        name: model["calibration"]
        for name, model in main["models"].items()
        if model.get("calibration")
    }
    bare = all(found.get("proposed") is None for found in calibrated.values())
    if calibrated and bare and not main["split"]["validation"]["count"]:
        return [
            "The split has no validation pixels to scale confidences on, so they are the "
            "models' own."
        ]
    few = {
        name: found["patches"]
        for name, found in calibrated.items()
        if found.get("proposed") is not None and found["temperature"] is None
    }
    return [_too_few(few)] if few else []


def _too_few(few: Mapping[str, int]) -> str:
    names, least = ", ".join(few), min(few.values())
    return (
        f"The held-out pixels lie in {least} separate {'patch' if least == 1 else 'patches'} "
        f"of land, and a confidence is scaled on {ENOUGH} or more, so that of {names} is "
        "the model's own."
    )


def draw_calibration(run: RunFolder, models: Mapping[str, Figures], about: str) -> None:
    """Draw the reliability diagram and the abstention curve of each model.

    ``about`` is what the titles say of the scene.  Figures of an earlier run of
    models that no longer say how sure they are go.
    """
    from hypercover.maps import draw

    for name, model in models.items():
        figures = run.figure(f"reliability-{name}"), run.figure(f"abstention-{name}")
        found = model.get("calibration")
        if not found:
            for path in figures:
                path.unlink(missing_ok=True)
            continue
        title = f"{name}{about}"
        draw.save(draw.draw_reliability(found, title), figures[0])
        draw.save(draw.draw_abstention(found, title), figures[1])
