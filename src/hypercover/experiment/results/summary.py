"""From the results of single seeds and folds to the figures of a run."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from statistics import fmean, stdev
from typing import Any

import numpy as np

from hypercover.evaluation import run_metrics
from hypercover.evaluation.accuracy import OVERALL_MEASURES
from hypercover.evaluation.calibration import abstention_curve
from hypercover.evaluation.evaluate import Evaluation
from hypercover.evaluation.intervals import accuracy_intervals, units_of_split
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.temperature_scaling import MIN_PATCHES
from hypercover.experiment.tasks.trial import mean_feature_leakage

_LEAK_SHARES = ("centre_in_window", "window_overlap")
_SECONDS = ("train_seconds", "predict_seconds", "search_seconds")
_AVERAGED = (*OVERALL_MEASURES, "validation_accuracy", "train_seconds", "predict_seconds")
_PER_CLASS = ("train_count", "test_count", "producers_accuracy", "users_accuracy", "f1")
_PER_SEED = (
    *("temperature", "proposed", "fitted_on", "patches"),
    *("error", "error_before", "error_proposed"),
)


def _defined(items: Sequence[Any], name: str) -> list[float]:
    """Return an attribute of several items where it is not None."""
    return [value for item in items if (value := getattr(item, name)) is not None]


def _means(items: Sequence[Any], names: Sequence[str]) -> dict[str, float | None]:
    """Average some attributes over several items; None if none of them has one."""
    values = {name: _defined(items, name) for name in names}
    return {name: fmean(numbers) if numbers else None for name, numbers in values.items()}


def _spread(results: Sequence[run_metrics.ModelMetrics]) -> dict[str, float | None]:
    """Return the standard deviation of the overall measures over several results."""
    values = {name: _defined(results, name) for name in OVERALL_MEASURES}
    return {name: stdev(x) if len(x) > 1 else None for name, x in values.items()}


def _weighted_leaks(
    audits: Sequence[run_metrics.LeakageMetrics], weights: Sequence[float]
) -> dict[str, Any]:
    """Average the leaking shares of several splits by their test pixels."""
    return {
        name: sum(
            (getattr(audit, name) or 0.0) * weight
            for audit, weight in zip(audits, weights, strict=True)
        )
        / sum(weights)
        for name in _LEAK_SHARES
    }


def average_seeds(
    results: Sequence[run_metrics.ModelMetrics], seeds: Sequence[int]
) -> run_metrics.ModelMetrics:
    """Average the results of one model over several seeds.

    Accuracies are means over the seeds, confusion matrices are summed, and the spread is
    the standard deviation.  A single result keeps its exact counts.
    """
    repeats = [
        run_metrics.DrawMetrics(
            seed=seed, **{name: getattr(result, name) for name in OVERALL_MEASURES}
        )
        for seed, result in zip(seeds, results, strict=True)
    ]
    changes: dict[str, Any] = {"repeats": repeats, "spread": None}
    if len(results) > 1:
        calibration = average_calibration(results, seeds)
        changes |= _means(results, _AVERAGED)
        changes |= {
            "per_class": _average_classes(results),
            "confusion": sum_confusion(results),
            "leakage": _average_leakage(results),
            "spread": _spread(results),
            **({"calibration": calibration} if calibration else {}),
            **_join_searches(results, seeds),
        }
    return results[0].model_copy(update=changes)


def _average_classes(
    results: Sequence[run_metrics.ModelMetrics],
) -> list[run_metrics.ClassScore]:
    by_code: dict[int, list[run_metrics.ClassScore]] = {}
    for score in chain.from_iterable(result.per_class for result in results):
        by_code.setdefault(score.code, []).append(score)
    return [
        scores[0].model_copy(update=_means(scores, _PER_CLASS))
        for _, scores in sorted(by_code.items())
    ]


def sum_confusion(results: Sequence[run_metrics.ModelMetrics]) -> run_metrics.Confusion:
    """Sum the confusion matrices of several results."""
    parts = [result.confusion for result in results]
    codes = sorted({code for part in parts for code in part.codes})
    # Of objects, so that whole counts stay integers.
    total = np.zeros((len(codes), len(codes)), object)
    for part in parts:
        positions = np.searchsorted(codes, part.codes)
        total[np.ix_(positions, positions)] += np.array(part.matrix, object)
    return run_metrics.Confusion(codes=codes, matrix=total.tolist())


def _average_leakage(
    results: Sequence[run_metrics.ModelMetrics],
) -> run_metrics.LeakageMetrics:
    audits = [result.leakage for result in results]
    changes: dict[str, Any] = dict(_means(audits, _LEAK_SHARES))
    if audits[0].features is not None:
        features = [audit.features for audit in audits if audit.features is not None]
        changes["features"] = mean_feature_leakage(features)
    return audits[0].model_copy(update=changes)


def _join_searches(
    results: Sequence[run_metrics.ModelMetrics], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return the grid of the first seed, with the parameters that each seed chose."""
    searches = [result.search for result in results]
    if searches[0] is None or not all(searches):
        return {}
    choices = [
        run_metrics.SeedChoice(seed=seed, C=best.C, gamma=best.gamma, scale=best.scale)
        for seed, search in zip(seeds, searches, strict=True)
        if search is not None and (best := search.best) is not None
    ]
    search = searches[0].model_copy(update={"choices": choices})
    return {"search": search, **_means(results, ("search_seconds",))}


def combine_folds(
    results: Sequence[run_metrics.ModelMetrics], draws: Sequence[int], folds: int
) -> run_metrics.ModelMetrics:
    """Combine the results of one model on all folds of all seeds.

    The folds of a seed are pooled: confusion matrices are summed and every measure is
    computed from the sum, as some folds may not test every class.  Over several seeds
    these are averaged.  ``spread`` is the standard deviation over all folds, whose own
    accuracies are in ``repeats``.

    Parameters
    ----------
    results : one per draw, fold by fold
    draws : the number of each draw
    folds : folds of each seed
    """
    starts = range(0, len(results), folds)
    pooled = [_pool_folds(results[start : start + folds]) for start in starts]
    by_draw = average_seeds(results, draws)
    repeats = [
        row.model_copy(update={"fold": position % folds + 1})
        for position, row in enumerate(by_draw.repeats)
    ]
    changes = {"folds": folds, "repeats": repeats, "spread": _spread(results)}
    # Each fold has its own temperature, C and gamma.
    optional = {"calibration": by_draw.calibration, "search": by_draw.search}
    changes |= {name: part for name, part in optional.items() if part is not None}
    return average_seeds(pooled, draws[::folds]).model_copy(update=changes)


def _pool_folds(results: Sequence[run_metrics.ModelMetrics]) -> run_metrics.ModelMetrics:
    """Join the results of one model on the folds of one seed."""
    first = results[0]
    tested = [sum(map(sum, result.confusion.matrix)) for result in results]
    leaks = _weighted_leaks([result.leakage for result in results], tested)
    scores = [
        same[0].model_copy(update=_means(same, ("train_count",)))
        for same in zip(*(result.per_class for result in results), strict=True)
    ]
    summed = {"confusion": sum_confusion(results), "per_class": scores}
    pooled = Evaluation.from_metrics(first.model_copy(update=summed)).to_metrics()
    times = {
        name: sum(seconds)
        for name in _SECONDS
        if len(seconds := _defined(results, name)) == len(results)
    }
    validated = _defined(results, "validation_accuracy")
    return first.model_copy(
        update={
            **{name: getattr(pooled, name) for name in pooled.model_fields_set},
            "leakage": first.leakage.model_copy(update=leaks),
            "validation_accuracy": sum(validated) / len(validated) if validated else None,
            **times,
        }
    )


def pool_splits(
    splits: Sequence[run_metrics.SplitMetrics], *, refits: bool
) -> run_metrics.SplitMetrics:
    """Pool the folds of one seed: all their test pixels, and means of the other parts.

    A class is unscored if no fold has it on both sides.

    Parameters
    ----------
    refits : whether the mapping models are trained on all labelled pixels
    """
    first = splits[0]
    tested = [split.test.count for split in splits]
    parts: dict[str, Any] = {
        part: _pool_part(part, splits) for part in ("train", "validation", "test", "guard")
    }
    never = set.intersection(*({row.code for row in split.unscored} for split in splits))
    # Each fold has its own digest, in its own file.
    return run_metrics.SplitMetrics(
        kind=first.kind,
        seed=first.seed,
        settings={key: value for key, value in first.settings.items() if key != "fold"},
        window=first.window,
        **parts,
        unscored=[
            _explain_unscored(row, parts["test"].per_class[row.code])
            for row in first.unscored
            if row.code in never
        ],
        leakage={
            window: run_metrics.LeakageMetrics(
                **_weighted_leaks([split.leakage[window] for split in splits], tested)
            )
            for window in first.leakage
        },
        notes=[*first.notes, _folds_note(splits, parts["test"].count, refits)],
    )


def _pool_part(
    name: str, splits: Sequence[run_metrics.SplitMetrics]
) -> run_metrics.PartCount:
    """Sum the pixels of the test part, each tested once; average the other parts."""
    parts: list[run_metrics.PartCount] = [getattr(split, name) for split in splits]

    def pool(counts: Iterable[float]) -> float:
        total = sum(counts)
        return total if name == "test" else round(total / len(parts), 1)

    per_class = {
        code: pool(part.per_class[code] for part in parts) for code in parts[0].per_class
    }
    return run_metrics.PartCount(
        count=pool(part.count for part in parts), per_class=per_class
    )


def _explain_unscored(
    row: run_metrics.UnscoredClass, tested: float
) -> run_metrics.UnscoredClass:
    reason = "none of its pixels can be held out"
    if tested:
        reason = (
            "no fold has it in both training and test, so its test pixels count as errors"
        )
    return row.model_copy(update={"reason": reason})


def _folds_note(
    splits: Sequence[run_metrics.SplitMetrics], tested: float, refits: bool
) -> str:
    partial = splits[0].kind == "leave-one-out"
    which = f"{tested:,} labelled pixels are" if partial else "Every labelled pixel is"
    note = (
        f"{which} tested once in {len(splits)} folds; training, validation and guard pixels "
        "are means over the folds."
    )
    if refits:
        return note
    return f"{note} Model and map are those of the first fold, which left out part of the land."


def load_predictions(
    run: RunFolder, model: str, *, split: str, seeds: Sequence[Sequence[int]]
) -> list[Predictions]:
    """Load the predictions of a model, one set for each seed with its folds joined.

    ``seeds`` lists the draws of the split that belong to each seed: one, or one a fold.
    """
    return [
        Predictions.joined(
            [Predictions.load(run.predictions(split, draw, model)) for draw in draws]
        )
        for draws in seeds
    ]


def model_interval(
    predictions: Sequence[Predictions],
    *,
    split: run_metrics.SplitMetrics,
    codes: Sequence[int],
) -> run_metrics.Intervals | None:
    """Return the intervals of a model; None without test pixels.

    Parameters
    ----------
    predictions : one for each seed
    split : its kind and settings determine the sampling units
    codes : classes to list, in ascending order
    """
    if not any(map(len, predictions)):
        return None
    units = units_of_split(split.kind, split.settings)
    return accuracy_intervals(predictions, units=units, codes=codes)


def best_model(models: Mapping[str, run_metrics.ModelMetrics]) -> str | None:
    """Name the model with the best validation accuracy; None without validation pixels.

    Test pixels take no part: choosing by them would spoil them.
    """
    scores = {
        name: accuracy
        for name, model in models.items()
        if (accuracy := model.validation_accuracy) is not None
    }
    return max(scores, key=lambda name: scores[name]) if scores else None


def never_predicted_notes(main: run_metrics.SplitResults) -> list[str]:
    """Name the classes that a model predicts for no test pixel in any draw."""
    notes = []
    for name, model in main.models.items():
        evaluation = Evaluation.from_metrics(model)
        rows = zip(evaluation.legend.codes, evaluation.matrix.sum(axis=1), strict=True)
        pixels, lost = dict(rows), evaluation.never_predicted
        if lost:
            classes = "one class" if len(lost) == 1 else f"{len(lost)} classes"
            total = sum(int(pixels[entry.code]) for entry in lost)
            listed = ", ".join(f"{entry.name} ({pixels[entry.code]:,})" for entry in lost)
            notes.append(
                f"{name} never predicts {classes} of {total:,} test pixels: {listed}. The "
                "overall accuracy hides this; see the average accuracy."
            )
    return notes


def average_calibration(
    results: Sequence[run_metrics.ModelMetrics], seeds: Sequence[int]
) -> run_metrics.CalibrationMetrics | None:
    """Average the calibration of one model over its seeds; None if a seed has none.

    Each seed has its own temperature, so errors are averaged rather than computed from
    the pooled pixels: one overconfident and one underconfident seed would otherwise look
    well calibrated.  The pixels of the bins are pooled, and the accuracies of the
    abstention curve averaged.
    """
    parts = [result.calibration for result in results if result.calibration is not None]
    if len(parts) < len(results):
        return None
    # An unscaled seed has the same error before scaling.
    errors = [
        part.error if part.error_before is None else part.error_before for part in parts
    ]
    before = [error for error in errors if error is not None]
    scaled = any(part.temperature is not None for part in parts)
    return run_metrics.CalibrationMetrics.model_validate(
        _means(parts, _PER_SEED)
        | {
            "by": parts[0].by,
            "error_before": fmean(before) if scaled and before else None,
            "fitted_on": round(fmean(part.fitted_on for part in parts)),
            "patches": min(part.patches for part in parts),
            "bins": list(map(_pool_bin, *(part.bins for part in parts))),
            "abstention": [
                run_metrics.SelectiveAccuracy(
                    kept=points[0].kept,
                    accuracy=fmean(point.accuracy or 0.0 for point in points),
                )
                for points in zip(*(part.abstention for part in parts), strict=True)
            ],
            "repeats": [
                {"seed": seed} | {name: getattr(part, name) for name in _PER_SEED}
                for seed, part in zip(seeds, parts, strict=True)
            ],
        }
    )


def _pool_bin(*bins: run_metrics.CalibrationBin) -> run_metrics.CalibrationBin:
    """Join one bin over the seeds, each weighted by its pixels."""
    count = sum(part.count for part in bins)
    means = {
        name: sum(part.count * (getattr(part, name) or 0.0) for part in bins) / count
        if count
        else None
        for name in ("confidence", "accuracy")
    }
    return run_metrics.CalibrationBin(
        low=bins[0].low, high=bins[0].high, count=count, **means
    )


def pooled_abstention(
    predictions: Sequence[Predictions],
) -> list[run_metrics.SelectiveAccuracy]:
    """Return the abstention curve of folds, averaged over the seeds.

    A map abstains on its least confident pixels wherever they are, not equally in each
    fold, so the pixels of all folds of a seed are ranked together.

    Parameters
    ----------
    predictions : one for each seed, with its folds joined
    """
    curves = [
        abstention_curve(seed.confidence, seed.right)
        for seed in predictions
        if seed.confidence is not None
    ]
    return [
        run_metrics.SelectiveAccuracy(
            kept=points[0][0], accuracy=fmean(right for _, right in points)
        )
        for points in zip(*curves, strict=True)
    ]


def calibration_notes(main: run_metrics.SplitResults) -> list[str]:
    """Note where confidences of the main split were not scaled for lack of pixels."""
    parts = {
        name: part
        for name, model in main.models.items()
        if (part := model.calibration) is not None
    }
    proposed = {name: part for name, part in parts.items() if part.proposed is not None}
    if parts and not proposed and not main.split.validation.count:
        return [
            "The split has no validation pixels to calibrate confidences on, so they are "
            "the models' own."
        ]
    few = {
        name: part.patches for name, part in proposed.items() if part.temperature is None
    }
    if not few:
        return []
    least = min(few.values())
    return [
        f"The held-out pixels form only {least:g} separate "
        f"{'patch' if least == 1 else 'patches'} of land, and calibration needs "
        f"{MIN_PATCHES}; the confidence of {', '.join(few)} is the model's own."
    ]
