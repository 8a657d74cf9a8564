"""From the results of single seeds to the figures of a run."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from hypercover.evaluation.calibration import abstention_curve
from hypercover.evaluation.evaluate import Evaluation
from hypercover.evaluation.intervals import accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.sampling_units import units_of_split
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.trial import MIN_PATCHES, mean_feature_leakage
from hypercover.scene.metadata import mark

__all__ = [
    "average_calibration",
    "best_model",
    "calibration_notes",
    "draw_calibration",
    "draw_learning_curve",
    "learning_curve_rows",
    "load_predictions",
    "model_interval",
    "never_predicted_notes",
    "pool_splits",
    "pooled_abstention",
    "spread_of",
    "sum_confusion",
    "summarise",
    "summarise_folds",
]

Results = Sequence[Mapping[str, Any]]

_SHARES = ("centre_in_window", "window_overlap")

_SECONDS = ("train_seconds", "predict_seconds", "search_seconds")


def summarise_folds(results: Results, draws: Sequence[int], folds: int) -> dict[str, Any]:
    """Join one model's results on all folds of all seeds into one.

    The folds of a seed are pooled: their confusion matrices are added up, and
    every figure is that of the sum, as a class may be tested in some folds
    only.  Over several seeds such figures are means.  ``spread`` is the standard
    deviation over all folds, whose own figures stand in ``repeats``.

    Parameters
    ----------
    results : one MODEL object of ``metrics.json`` per draw, fold by fold
    draws : the number of each draw
    folds : folds of each seed
    """
    starts = range(0, len(results), folds)
    pooled = [_pooled(results[start : start + folds]) for start in starts]
    whole = summarise(pooled, draws[::folds])
    each = summarise(results, draws)
    repeats = [
        {**row, "fold": position % folds + 1}
        for position, row in enumerate(each["repeats"])
    ]
    # Each fold has a temperature and a choice of C and gamma of its own.
    own: dict[str, Any] = {
        key: each[key] for key in ("calibration", "search") if key in each
    }
    about = {"folds": folds, "repeats": repeats, "spread": spread_of(results)}
    return {**whole, **own, **about}


def _pooled(results: Results) -> dict[str, Any]:
    """Join one model's results on the folds of one seed."""
    tested = [sum(map(sum, one["confusion"]["matrix"])) for one in results]
    leakage = dict(results[0]["leakage"])
    for share in _SHARES:
        leakage[share] = _weighted_mean([one["leakage"][share] for one in results], tested)
    rows = [
        {**row, "train_count": sum(counts) / len(counts)}
        for row, *counts in zip(
            results[0]["per_class"],
            *([row["train_count"] for row in one["per_class"]] for one in results),
            strict=True,
        )
    ]
    together = {
        "confusion": sum_confusion(results),
        "leakage": leakage,
        "per_class": rows,
    }
    figures = Evaluation.from_json(together).to_json()
    return {**results[0], **figures, "leakage": leakage, **_sums(results)}


def _sums(results: Results) -> dict[str, Any]:
    """Add up the times of all folds, and average what validation pixels said."""
    known = [one.get("validation_accuracy") for one in results]
    shares = [share for share in known if share is not None]
    times = {
        key: sum(one[key] for one in results)
        for key in _SECONDS
        if all(one.get(key) is not None for one in results)
    }
    return times | {"validation_accuracy": sum(shares) / len(shares) if shares else None}


def _weighted_mean(shares: Sequence[float], weights: Sequence[int]) -> float:
    return sum(share * by for share, by in zip(shares, weights, strict=True)) / sum(weights)


def pool_splits(splits: Results, *, refits: bool) -> dict[str, Any]:
    """Join what is said of the folds of one seed: all test pixels, means of the others.

    A class is unscored where no fold has it on both sides.

    Parameters
    ----------
    refits : whether the models that map are trained on all labelled pixels
    """
    tested = [one["test"]["count"] for one in splits]
    parts: dict[str, dict[str, Any]] = {
        part: {
            "count": _over(part, [one[part]["count"] for one in splits]),
            "per_class": {
                code: _over(part, [one[part]["per_class"][code] for one in splits])
                for code in splits[0][part]["per_class"]
            },
        }
        for part in ("train", "validation", "test", "guard")
    }
    leakage = {
        window: {
            share: _weighted_mean([one["leakage"][window][share] for one in splits], tested)
            for share in _SHARES
        }
        for window in splits[0]["leakage"]
    }
    lost = [{row["code"] for row in one["unscored"]} for one in splits]
    settings = {key: value for key, value in splits[0]["settings"].items() if key != "fold"}
    never = set.intersection(*lost)
    # Each fold has a digest of its own, in its own file.
    return {
        **{key: value for key, value in splits[0].items() if key != "sha256"},
        **parts,
        "settings": settings,
        "leakage": leakage,
        "unscored": [
            _never(row, parts["test"]["per_class"][str(row["code"])])
            for row in splits[0]["unscored"]
            if row["code"] in never
        ],
        "notes": [*splits[0]["notes"], _folds_note(splits, parts["test"]["count"], refits)],
    }


def _over(part: str, counts: Sequence[int]) -> float:
    """Add up the pixels that are tested once; average those of the other parts."""
    return sum(counts) if part == "test" else round(sum(counts) / len(counts), 1)


def _never(row: Mapping[str, Any], tested: float) -> dict[str, Any]:
    reason = (
        "no fold has it both in training and in the test: its test pixels count as errors"
        if tested
        else "none of its pixels can be held out"
    )
    return {**row, "reason": reason}


def _folds_note(splits: Results, tested: float, refits: bool) -> str:
    spared = splits[0]["kind"] == "leave-one-out"
    which = f"{tested:,} labelled pixels are" if spared else "Every labelled pixel is"
    said = (
        f"{which} tested once in {len(splits)} folds; training, validation and guard pixels "
        "are means over them."
    )
    first = "Model and map are those of the first fold, which did not train on all land."
    return said if refits else f"{said} {first}"


def load_predictions(
    run: RunFolder, model: str, *, split: str, seeds: Sequence[Sequence[int]]
) -> list[Predictions]:
    """Return what a model answered under each seed, its folds together.

    ``seeds`` holds for each seed the draws of the split that it made: one, or one a fold.
    """
    return [
        Predictions.joined([
            Predictions.load(run.predictions(split, draw, model)) for draw in draws
        ])
        for draws in seeds
    ]  # fmt: skip


def model_interval(
    answers: Sequence[Predictions], *, made: Mapping[str, Any], codes: Sequence[int]
) -> dict[str, Any] | None:
    """Return the intervals of a model from its kept answers, as ``metrics.json`` holds them.

    Parameters
    ----------
    answers : those of each seed
    made : what ``metrics.json`` says of the split: kind and settings choose the units
    codes : classes of the model's rows, in ascending order

    Returns
    -------
    None where there is no test pixel.
    """
    if not sum(map(len, answers)):
        return None
    units = units_of_split(made["kind"], made["settings"])
    return accuracy_intervals(answers, units=units, codes=codes).to_json()


def draw_learning_curve(
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
    from hypercover.figures.accuracy_curves import draw_curve
    from hypercover.figures.canvas import save_figure

    rows = learning_curve_rows(experiment, parts)
    said = mark(scene)
    title = f"{scene['name']} ({said})" if said else str(scene["name"])
    save_figure(draw_curve(rows, title=title), figure)
    return {"curve": {"rows": rows}, "learning_curve": dict(parts)}


def learning_curve_rows(
    experiment: Experiment, parts: Mapping[str, Any]
) -> list[dict[str, Any]]:
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


_HEADLINES = ("overall_accuracy", "average_accuracy", "kappa")

_AVERAGED = (*_HEADLINES, "validation_accuracy", "train_seconds", "predict_seconds")

_PER_CLASS = ("train_count", "test_count", "producers_accuracy", "users_accuracy", "f1")


def _mean_known(values: Sequence[float | None]) -> float | None:
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
    averages = {
        name: _mean_known([result.get(name) for result in results]) for name in _AVERAGED
    }
    return {
        **first,
        **averages,
        "per_class": _per_class(results),
        "confusion": sum_confusion(results),
        "leakage": _leakage(results),
        "repeats": repeats,
        "spread": spread_of(results),
        **average_calibration(results, seeds),
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
        "search_seconds": _mean_known([result.get("search_seconds") for result in results]),
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
            **{key: _mean_known([row[key] for row in rows]) for key in _PER_CLASS},
        }
        for code, rows in sorted(by_code.items())
    ]


def sum_confusion(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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
    means = {share: _mean_known([audit[share] for audit in audits]) for share in shares}
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


_EACH = (
    *("temperature", "proposed", "fitted_on", "patches"),
    *("error", "error_before", "error_proposed"),
)

Figures = Mapping[str, Any]


def average_calibration(results: Sequence[Figures], seeds: Sequence[int]) -> dict[str, Any]:
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
            **{name: _mean_share([each.get(name) for each in every]) for name in _EACH},
            "by": every[0].get("by"),
            "error_before": _before(every),
            "fitted_on": round(fmean(each["fitted_on"] for each in every)),
            "patches": min(each["patches"] for each in every),
            "bins": [
                _pooled_bin(rows)
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
    return _mean_share(
        [
            each["error"] if error is None else error
            for each, error in zip(every, own, strict=True)
        ]
    )


def _mean_share(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _pooled_bin(rows: Sequence[Figures]) -> dict[str, Any]:
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
        f"of land, and a confidence is scaled on {MIN_PATCHES} or more, so that of {names} is "
        "the model's own."
    )


def draw_calibration(run: RunFolder, models: Mapping[str, Figures], about: str) -> None:
    """Draw the reliability diagram and the abstention curve of each model.

    ``about`` is what the titles say of the scene.  Figures of an earlier run of
    models that no longer say how sure they are go.
    """
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.reliability import draw_abstention, draw_reliability

    for name, model in models.items():
        figures = run.figure(f"reliability-{name}"), run.figure(f"abstention-{name}")
        found = model.get("calibration")
        if not found:
            for path in figures:
                path.unlink(missing_ok=True)
            continue
        title = f"{name}{about}"
        save_figure(draw_reliability(found, title), figures[0])
        save_figure(draw_abstention(found, title), figures[1])
