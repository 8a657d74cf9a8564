"""From the results of single seeds to the figures of a run."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from hypercover.evaluation.evaluate import Evaluation
from hypercover.experiment.calibration_summary import join_calibration
from hypercover.experiment.leakage import mean_feature_leakage

__all__ = [
    "added_confusion",
    "best_model",
    "never_predicted_notes",
    "spread_of",
    "summarise",
]

_HEADLINES = ("overall_accuracy", "average_accuracy", "kappa")
_AVERAGED = (*_HEADLINES, "validation_accuracy", "train_seconds", "predict_seconds")
_PER_CLASS = ("train_count", "test_count", "producers_accuracy", "users_accuracy", "f1")


def _mean(values: Sequence[float | None]) -> float | None:
    """Average what could be computed; None where nothing could."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def summarise(results: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, Any]:
    """Join one model's results on several seeds into one.

    Headline figures and per-class accuracies are means over the seeds, the
    confusion matrices are added up, and the spread is the standard deviation.
    One result is returned as it is, so a single run shows its exact counts.

    Parameters
    ----------
    results : one MODEL object of ``metrics.json`` per seed
    seeds : the seed of each result
    """
    first = dict(results[0])
    repeats = [
        {"seed": seed, **{name: result[name] for name in _HEADLINES}}
        for seed, result in zip(seeds, results, strict=True)
    ]
    if len(results) == 1:
        return {**first, "repeats": repeats, "spread": None}
    averages = {name: _mean([result.get(name) for result in results]) for name in _AVERAGED}
    return {
        **first,
        **averages,
        "per_class": _per_class(results),
        "confusion": added_confusion(results),
        "leakage": _leakage(results),
        "repeats": repeats,
        "spread": spread_of(results),
        **join_calibration(results, seeds),
        **_searches(results, seeds),
    }


def _searches(results: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the grid of the first seed, and what each seed chose from its own."""
    found = [result.get("search") for result in results]
    if not all(found):
        return {}
    choices = [
        {"seed": seed, **{name: search["best"][name] for name in ("C", "gamma", "scale")}}
        for seed, search in zip(seeds, found, strict=True)
        if search is not None
    ]
    return {
        "search": {**(found[0] or {}), "choices": choices},
        "search_seconds": _mean([result.get("search_seconds") for result in results]),
    }


def spread_of(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the standard deviation of each headline figure over several results."""
    return {name: _spread([result[name] for result in results]) for name in _HEADLINES}


def _spread(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stdev(known) if len(known) > 1 else None


def _per_class(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    by_code: dict[int, list[Mapping[str, Any]]] = {}
    for result in results:
        for row in result["per_class"]:
            by_code.setdefault(row["code"], []).append(row)
    return [
        {
            "code": code,
            "name": rows[0]["name"],
            **{key: _mean([row[key] for row in rows]) for key in _PER_CLASS},
        }
        for code, rows in sorted(by_code.items())
    ]


def added_confusion(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the confusion matrices of several results."""
    codes = sorted({code for result in results for code in result["confusion"]["codes"]})
    place = {code: position for position, code in enumerate(codes)}
    matrix = [[0] * len(codes) for _ in codes]
    for result in results:
        own = result["confusion"]
        for reference, row in zip(own["codes"], own["matrix"], strict=True):
            for predicted, count in zip(own["codes"], row, strict=True):
                matrix[place[reference]][place[predicted]] += count
    return {"codes": codes, "matrix": matrix}


def _leakage(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    audits = [result["leakage"] for result in results]
    shares = ("centre_in_window", "window_overlap")
    means = {share: _mean([audit[share] for audit in audits]) for share in shares}
    joined = {"window": audits[0]["window"], **means}
    if "features" in audits[0]:
        carried = [audit["features"] for audit in audits]
        joined["features"] = mean_feature_leakage(carried)
    return joined


def best_model(models: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Name the model that is best on validation pixels; None without such pixels.

    Test pixels are never asked: choosing by them would spoil them.
    """
    scores = {name: model.get("validation_accuracy") for name, model in models.items()}
    known = {name: score for name, score in scores.items() if score is not None}
    return max(known, key=lambda name: known[name]) if known else None


def never_predicted_notes(main: Mapping[str, Any]) -> list[str]:
    """Name the classes that a model answers for no test pixel of any draw."""
    notes = []
    for name, model in main["models"].items():
        found = Evaluation.from_json(model)
        lost = found.never_predicted
        if lost:
            counts = dict(zip(found.legend.codes, found.matrix.sum(axis=1), strict=True))
            pixels = sum(int(counts[land.code]) for land in lost)
            listed = ", ".join(f"{land.name} ({counts[land.code]:,})" for land in lost)
            notes.append(
                f"{name} answers {len(lost)} of the classes for no test pixel, though "
                f"{pixels:,} test pixels have {'it' if len(lost) == 1 else 'them'}: {listed}. "
                "The overall accuracy hides this; see the average accuracy."
            )
    return notes
