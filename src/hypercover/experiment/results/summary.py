"""From the results of single seeds and folds to the figures of a run."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from hypercover.evaluation.accuracy import OVERALL_MEASURES
from hypercover.evaluation.calibration import abstention_curve
from hypercover.evaluation.evaluate import Evaluation
from hypercover.evaluation.intervals import accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import (
    CalibrationBin,
    CalibrationMetrics,
    ClassScore,
    Confusion,
    CurvePoint,
    DrawMetrics,
    Intervals,
    LeakageMetrics,
    LearningCurve,
    ModelMetrics,
    PartCount,
    SceneMetrics,
    SeedCalibration,
    SelectiveAccuracy,
    SplitMetrics,
    SplitResults,
    UnscoredClass,
)
from hypercover.evaluation.sampling_units import units_of_split
from hypercover.evaluation.search_metrics import SeedChoice
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.trial import MIN_PATCHES, mean_feature_leakage
from hypercover.scene.metadata import origin_label

_LEAK_SHARES = ("centre_in_window", "window_overlap")
_SECONDS = ("train_seconds", "predict_seconds", "search_seconds")
_AVERAGED = (*OVERALL_MEASURES, "validation_accuracy", "train_seconds", "predict_seconds")
_PER_CLASS = ("train_count", "test_count", "producers_accuracy", "users_accuracy", "f1")
_PER_SEED = (
    *("temperature", "proposed", "fitted_on", "patches"),
    *("error", "error_before", "error_proposed"),
)


def _mean(values: Iterable[float | None]) -> float | None:
    """Average the known values; None if there are none."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _means(items: Sequence[Any], names: Sequence[str]) -> dict[str, float | None]:
    """Average some attributes over several items."""
    return {name: _mean(getattr(item, name) for item in items) for name in names}


def _spread(results: Sequence[ModelMetrics]) -> dict[str, float | None]:
    """Return the standard deviation of the overall measures over several results."""
    values = {
        name: [value for one in results if (value := getattr(one, name)) is not None]
        for name in OVERALL_MEASURES
    }
    return {
        name: stdev(known) if len(known) > 1 else None for name, known in values.items()
    }


def average_seeds(results: Sequence[ModelMetrics], seeds: Sequence[int]) -> ModelMetrics:
    """Average the results of one model over several seeds.

    Accuracies are means over the seeds, confusion matrices are summed, and the spread is
    the standard deviation.  A single result keeps its exact counts.
    """
    repeats = [
        DrawMetrics(
            seed=seed,
            overall_accuracy=one.overall_accuracy,
            average_accuracy=one.average_accuracy,
            kappa=one.kappa,
        )
        for seed, one in zip(seeds, results, strict=True)
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


def _average_classes(results: Sequence[ModelMetrics]) -> list[ClassScore]:
    by_code: dict[int, list[ClassScore]] = {}
    for score in (score for one in results for score in one.per_class):
        by_code.setdefault(score.code, []).append(score)
    return [
        scores[0].model_copy(update=_means(scores, _PER_CLASS))
        for _, scores in sorted(by_code.items())
    ]


def sum_confusion(results: Sequence[ModelMetrics]) -> Confusion:
    """Sum the confusion matrices of several results."""
    codes = sorted({code for one in results for code in one.confusion.codes})
    place = {code: position for position, code in enumerate(codes)}
    matrix: list[list[float]] = [[0] * len(codes) for _ in codes]
    for own in (one.confusion for one in results):
        for reference, row in zip(own.codes, own.matrix, strict=True):
            for predicted, count in zip(own.codes, row, strict=True):
                matrix[place[reference]][place[predicted]] += count
    return Confusion(codes=codes, matrix=matrix)


def _average_leakage(results: Sequence[ModelMetrics]) -> LeakageMetrics:
    audits = [one.leakage for one in results]
    changes: dict[str, Any] = dict(_means(audits, _LEAK_SHARES))
    carried = [one.features for one in audits if one.features is not None]
    if audits[0].features is not None:
        changes["features"] = mean_feature_leakage(carried)
    return audits[0].model_copy(update=changes)


def _join_searches(results: Sequence[ModelMetrics], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the grid of the first seed, with the parameters that each seed chose."""
    searches = [one.search for one in results]
    if searches[0] is None or not all(searches):
        return {}
    choices = [
        SeedChoice(seed=seed, C=best.C, gamma=best.gamma, scale=best.scale)
        for seed, search in zip(seeds, searches, strict=True)
        if search is not None and (best := search.best) is not None
    ]
    return {
        "search": searches[0].model_copy(update={"choices": choices}),
        **_means(results, ("search_seconds",)),
    }


def combine_folds(
    results: Sequence[ModelMetrics], draws: Sequence[int], folds: int
) -> ModelMetrics:
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
    each = average_seeds(results, draws)
    repeats = [
        row.model_copy(update={"fold": position % folds + 1})
        for position, row in enumerate(each.repeats)
    ]
    changes = {"folds": folds, "repeats": repeats, "spread": _spread(results)}
    # Each fold has its own temperature, C and gamma.
    if each.calibration is not None:
        changes["calibration"] = each.calibration
    if each.search is not None:
        changes["search"] = each.search
    return average_seeds(pooled, draws[::folds]).model_copy(update=changes)


def _pool_folds(results: Sequence[ModelMetrics]) -> ModelMetrics:
    """Join the results of one model on the folds of one seed."""
    first = results[0]
    tested = [sum(map(sum, one.confusion.matrix)) for one in results]
    shares = {
        share: _weighted_mean([getattr(one.leakage, share) for one in results], tested)
        for share in _LEAK_SHARES
    }
    scores = [
        score.model_copy(update=_means([score, *others], ("train_count",)))
        for score, *others in zip(*(one.per_class for one in results), strict=True)
    ]
    pooled = Evaluation.from_metrics(
        first.model_copy(update={"confusion": sum_confusion(results), "per_class": scores})
    ).to_metrics()
    times = {
        name: sum(seconds)
        for name in _SECONDS
        if None not in (seconds := [getattr(one, name) for one in results])
    }
    accuracies = [one.validation_accuracy for one in results]
    known = [share for share in accuracies if share is not None]
    return first.model_copy(
        update={
            **{name: getattr(pooled, name) for name in pooled.model_fields_set},
            "leakage": first.leakage.model_copy(update=shares),
            "validation_accuracy": sum(known) / len(known) if known else None,
            **times,
        }
    )


def _weighted_mean(shares: Sequence[float | None], weights: Sequence[float]) -> float:
    weighted = ((share or 0.0) * by for share, by in zip(shares, weights, strict=True))
    return sum(weighted) / sum(weights)


def pool_splits(splits: Sequence[SplitMetrics], *, refits: bool) -> SplitMetrics:
    """Pool the folds of one seed: all their test pixels, and means of the other parts.

    A class is unscored if no fold has it on both sides.

    Parameters
    ----------
    refits : whether the mapping models are trained on all labelled pixels
    """
    first = splits[0]
    tested = [one.test.count for one in splits]
    test = _pool_part("test", splits)
    never = set.intersection(*({row.code for row in one.unscored} for one in splits))
    # Each fold has its own digest, in its own file.
    return SplitMetrics(
        kind=first.kind,
        seed=first.seed,
        settings={key: value for key, value in first.settings.items() if key != "fold"},
        window=first.window,
        train=_pool_part("train", splits),
        validation=_pool_part("validation", splits),
        test=test,
        guard=_pool_part("guard", splits),
        unscored=[
            _explain_unscored(row, test.per_class[row.code])
            for row in first.unscored
            if row.code in never
        ],
        leakage={
            window: LeakageMetrics(
                centre_in_window=_weighted_mean(
                    [one.leakage[window].centre_in_window for one in splits], tested
                ),
                window_overlap=_weighted_mean(
                    [one.leakage[window].window_overlap for one in splits], tested
                ),
            )
            for window in first.leakage
        },
        notes=[*first.notes, _folds_note(splits, test.count, refits)],
    )


def _pool_part(part: str, splits: Sequence[SplitMetrics]) -> PartCount:
    """Sum the pixels of the test part, each tested once; average the other parts."""
    parts: list[PartCount] = [getattr(one, part) for one in splits]

    def pool(counts: Sequence[float]) -> float:
        total = sum(counts)
        return total if part == "test" else round(total / len(counts), 1)

    return PartCount(
        count=pool([one.count for one in parts]),
        per_class={
            code: pool([one.per_class[code] for one in parts])
            for code in parts[0].per_class
        },
    )


def _explain_unscored(row: UnscoredClass, tested: float) -> UnscoredClass:
    reason = (
        "no fold has it in both training and test, so its test pixels count as errors"
        if tested
        else "none of its pixels can be held out"
    )
    return row.model_copy(update={"reason": reason})


def _folds_note(splits: Sequence[SplitMetrics], tested: float, refits: bool) -> str:
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
        Predictions.joined([
            Predictions.load(run.predictions(split, draw, model)) for draw in draws
        ])
        for draws in seeds
    ]  # fmt: skip


def model_interval(
    predictions: Sequence[Predictions], *, split: SplitMetrics, codes: Sequence[int]
) -> Intervals | None:
    """Return the intervals of a model; None without test pixels.

    Parameters
    ----------
    predictions : one for each seed
    split : its kind and settings determine the sampling units
    codes : classes to list, in ascending order
    """
    if not sum(map(len, predictions)):
        return None
    units = units_of_split(split.kind, split.settings)
    return accuracy_intervals(predictions, units=units, codes=codes)


def draw_learning_curve(
    run: RunFolder,
    experiment: Experiment,
    parts: Mapping[str, SplitResults],
    scene: SceneMetrics,
) -> LearningCurve | None:
    """Draw the learning curve of a run, or remove the figure of an earlier one.

    Parameters
    ----------
    parts : split and models of each share, by the name of its split
    """
    figure = run.figure("curve")
    if not parts:
        figure.unlink(missing_ok=True)
        return None
    from hypercover.figures.accuracy_curves import draw_curve
    from hypercover.figures.canvas import save_figure

    rows = learning_curve_rows(experiment, parts)
    title = f"{scene.name}{title_suffix(scene)}"
    save_figure(draw_curve([row.to_json() for row in rows], title=title), figure)
    return LearningCurve(rows=rows)


def learning_curve_rows(
    experiment: Experiment, parts: Mapping[str, SplitResults]
) -> list[CurvePoint]:
    """Return one row for each model and share, shares ascending."""
    shares = sorted(zip(experiment.learning_curve, experiment.curve_splits, strict=True))
    rows = []
    for name in experiment.models:
        for share, split in shares:
            model = parts[split].models[name]
            row = CurvePoint(
                model=name,
                train=share,
                overall_accuracy=model.overall_accuracy,
                spread=model.spread_of("overall_accuracy"),
                interval=model.interval.overall_accuracy if model.interval else None,
            )
            rows.append(row)
    return rows


def best_model(models: Mapping[str, ModelMetrics]) -> str | None:
    """Name the model with the best validation accuracy; None without validation pixels.

    Test pixels take no part: choosing by them would spoil them.
    """
    scores = {
        name: model.validation_accuracy
        for name, model in models.items()
        if model.validation_accuracy is not None
    }
    return max(scores, key=lambda name: scores[name]) if scores else None


def never_predicted_notes(main: SplitResults) -> list[str]:
    """Name the classes that a model predicts for no test pixel in any draw."""
    notes = []
    for name, model in main.models.items():
        evaluation = Evaluation.from_metrics(model)
        if lost := evaluation.never_predicted:
            counts = dict(
                zip(evaluation.legend.codes, evaluation.matrix.sum(axis=1), strict=True)
            )
            pixels = sum(int(counts[land.code]) for land in lost)
            listed = ", ".join(f"{land.name} ({counts[land.code]:,})" for land in lost)
            one = len(lost) == 1
            notes.append(
                f"{name} never predicts {'one class' if one else f'{len(lost)} classes'} "
                f"of {pixels:,} test pixels: {listed}. The overall accuracy hides this; see "
                "the average accuracy."
            )
    return notes


def average_calibration(
    results: Sequence[ModelMetrics], seeds: Sequence[int]
) -> CalibrationMetrics | None:
    """Average the calibration of one model over its seeds; None if a seed has none.

    Each seed has its own temperature, so errors are averaged rather than computed from
    the pooled pixels: one overconfident and one underconfident seed would otherwise look
    well calibrated.  The pixels of the bins are pooled, and the accuracies of the
    abstention curve averaged.
    """
    every = [one.calibration for one in results if one.calibration is not None]
    if len(every) < len(results):
        return None
    return CalibrationMetrics.model_validate(
        _means(every, _PER_SEED)
        | {
            "by": every[0].by,
            "error_before": _error_before(every),
            "fitted_on": round(fmean(each.fitted_on for each in every)),
            "patches": min(each.patches for each in every),
            "bins": [
                _pool_bin(bins) for bins in zip(*(each.bins for each in every), strict=True)
            ],
            "abstention": [
                SelectiveAccuracy(
                    kept=points[0].kept,
                    accuracy=fmean(point.accuracy or 0.0 for point in points),
                )
                for points in zip(*(each.abstention for each in every), strict=True)
            ],
            "repeats": [
                SeedCalibration.model_validate(
                    {"seed": seed} | {name: getattr(each, name) for name in _PER_SEED}
                )
                for seed, each in zip(seeds, every, strict=True)
            ],
        }
    )


def _error_before(every: Sequence[CalibrationMetrics]) -> float | None:
    """Average the error before scaling, if the confidence of any seed is scaled."""
    if all(each.temperature is None for each in every):
        return None
    return _mean(
        each.error if each.error_before is None else each.error_before for each in every
    )


def _pool_bin(bins: Sequence[CalibrationBin]) -> CalibrationBin:
    """Join one bin over the seeds, each weighted by its pixels."""
    count = sum(each.count for each in bins)

    def mean(name: str) -> float | None:
        if not count:
            return None
        filled = [each for each in bins if each.count]
        return float(sum(each.count * getattr(each, name) for each in filled) / count)

    return CalibrationBin(
        low=bins[0].low,
        high=bins[0].high,
        count=count,
        confidence=mean("confidence"),
        accuracy=mean("accuracy"),
    )


def pooled_abstention(predictions: Sequence[Predictions]) -> list[SelectiveAccuracy]:
    """Return the abstention curve of folds, averaged over the seeds.

    A map abstains on its least confident pixels wherever they are, not equally in each
    fold, so the pixels of all folds of a seed are ranked together.

    Parameters
    ----------
    predictions : one for each seed, with its folds joined
    """
    curves = [
        abstention_curve(one.confidence, one.right)
        for one in predictions
        if one.confidence is not None
    ]
    return [
        SelectiveAccuracy(kept=points[0][0], accuracy=fmean(right for _, right in points))
        for points in zip(*curves, strict=True)
    ]


def calibration_notes(main: SplitResults) -> list[str]:
    """Note where confidences of the main split were not scaled for lack of pixels."""
    calibrations = {
        name: model.calibration
        for name, model in main.models.items()
        if model.calibration is not None
    }
    if not calibrations:
        return []
    proposed = {
        name: each for name, each in calibrations.items() if each.proposed is not None
    }
    if not proposed and not main.split.validation.count:
        return [
            "The split has no validation pixels to calibrate confidences on, so they are "
            "the models' own."
        ]
    few = {
        name: each.patches for name, each in proposed.items() if each.temperature is None
    }
    if not few:
        return []
    least = min(few.values())
    return [
        f"The held-out pixels form only {least:g} separate "
        f"{'patch' if least == 1 else 'patches'} of land, and calibration needs "
        f"{MIN_PATCHES}; the confidence of {', '.join(few)} is the model's own."
    ]


def title_suffix(scene: SceneMetrics) -> str:
    """Return what titles add to a name if the scene was not measured; else nothing."""
    origin = origin_label(scene.model_dump())
    return f" ({origin})" if origin else ""


def draw_calibration(
    run: RunFolder, models: Mapping[str, ModelMetrics], suffix: str
) -> None:
    """Draw the reliability diagram and the abstention curve of each model.

    ``suffix`` ends the titles.  Figures of models that no longer give a confidence are
    removed.
    """
    from hypercover.figures.canvas import save_figure
    from hypercover.figures.reliability import draw_abstention, draw_reliability

    for name, model in models.items():
        reliability = run.figure(f"reliability-{name}")
        abstention = run.figure(f"abstention-{name}")
        if model.calibration is None:
            reliability.unlink(missing_ok=True)
            abstention.unlink(missing_ok=True)
            continue
        figures, title = model.calibration.to_json(), f"{name}{suffix}"
        save_figure(draw_reliability(figures, title), reliability)
        save_figure(draw_abstention(figures, title), abstention)
