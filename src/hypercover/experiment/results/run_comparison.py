"""Comparing runs: every pair of their models on the test pixels they have in common."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypercover.errors import CallError
from hypercover.evaluation import comparison, run_metrics
from hypercover.evaluation.intervals import class_codes, units_of_split
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.result_plots import format_result, plot_differences
from hypercover.experiment.results.run_folder import RunFolder, check_unchanged
from hypercover.experiment.results.summary import load_predictions
from hypercover.files import csv_text, write_json, write_text
from hypercover.scene.labels import LabelMap, match_classes
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import origin_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """One model of one run under the split that is compared."""

    label: str
    """Its name, with that of its run where there are several."""
    run: Path
    """Folder of the run."""
    name: str
    """Its name in the run."""
    split_name: str
    """Name under which the run keeps the split."""
    split: run_metrics.SplitMetrics
    """How the labelled pixels were divided."""
    draws: dict[int, list[int]]
    """Draws of the split by seed: one, or one a fold."""
    answers: dict[int, Predictions] = field(default_factory=dict)
    """Answers for the test pixels by seed."""

    def load(self, seeds: Sequence[int], codes: dict[int, int]) -> "ComparedModel":
        """Load the answers under some seeds; ``codes`` gives classes their common codes."""
        draws = [self.draws[seed] for seed in seeds]
        loaded = load_predictions(
            RunFolder(self.run), self.name, split=self.split_name, seeds=draws
        )
        recoded = (predictions.recoded(codes) for predictions in loaded)
        return replace(self, answers=dict(zip(seeds, recoded, strict=True)))

    def to_json(self) -> dict[str, str]:
        """Return label and run as plain values."""
        return {"model": self.label, "run": str(self.run)}


@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models and how they compare."""

    first: ComparedModel
    second: ComparedModel
    comparison: comparison.Comparison


@dataclass(frozen=True, eq=False, repr=False)
class RunComparison:
    """All pairs of models of some runs."""

    split: str
    """Name of the split: main, or an additional one."""
    seeds: tuple[int, ...]
    """Seeds that all have."""
    names: dict[int, str]
    """Class names by code."""
    pairs: tuple[ModelPair, ...]
    """Every pair once."""
    mark: str = ""
    """Warning about a scene that was not measured."""
    notes: tuple[str, ...] = ()
    """What was left out."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values for ``comparison.json``."""
        return {
            "split": self.split,
            "seeds": list(self.seeds),
            "scene": self.mark or "measured",
            "classes": [{"code": code, "name": name} for code, name in self.names.items()],
            "notes": list(self.notes),
            "pairs": [
                {
                    "first": pair.first.to_json(),
                    "second": pair.second.to_json(),
                    **pair.comparison.to_json(),
                }
                for pair in self.pairs
            ],
        }

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each measure of each pair."""
        for pair in self.pairs:
            for measure, code, difference in pair.comparison.rows:
                values = difference.to_row()
                yield {
                    "first": pair.first.label,
                    "second": pair.second.label,
                    "measure": measure,
                    "code": code,
                    "name": "" if code is None else self.names.get(code, f"Class {code}"),
                    "first_value": values.pop("first"),
                    "second_value": values.pop("second"),
                    **values,
                }

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row for each measure of each pair of models."""
        import pandas as pd

        return pd.DataFrame(list(self._rows())).astype({"code": "Int64"})

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the difference in overall accuracy of each pair and return the axes."""
        overall = [pair.comparison.overall for pair in self.pairs]
        axes = plot_differences(
            [f"{pair.first.label} − {pair.second.label}" for pair in self.pairs],
            [measure.difference for measure in overall],
            [measure.interval for measure in overall],
            ax,
        )
        axes.set_title(f"Overall accuracy, {self.split} split")
        return axes

    def __repr__(self) -> str:
        """Return the differences in overall accuracy as a table."""
        frame = self.to_frame()
        overall = frame[frame["measure"] == "overall_accuracy"]
        seeds = ", ".join(map(str, self.seeds))
        headline = f"Overall accuracy, {self.split} split, seeds {seeds}"
        return format_result(headline, overall.drop(columns=["measure", "code", "name"]))

    def csv(self) -> str:
        """Return the rows of `to_frame` as CSV text."""
        rows = [row.values() for row in self._rows()]
        lines = ([f"{x:.6g}" if isinstance(x, float) else x for x in row] for row in rows)
        return csv_text([next(self._rows()), *lines])

    def write(self, folder: Path) -> list[Path]:
        """Write ``comparison.json``, ``comparison.csv`` and an agreement map of each pair.

        The maps are those of the first seed; each says who is right where.
        """
        from hypercover.gis import map_writing
        from hypercover.scene.class_map import open_class_map

        files = [folder / "comparison.json", folder / "comparison.csv"]
        write_json(files[0], self.to_json())
        write_text(files[1], self.csv())
        origin = {
            name: self.mark == origin_label({name: True})
            for name in ("simulated", "stand_in")
        }
        for pair in self.pairs:
            models = (pair.first, pair.second)
            where, stem = RunFolder(pair.first.run).split("main", 0)
            check_unchanged(where, f"{stem}.tif")
            labels = [re.sub(r"[^A-Za-z0-9_.-]+", "-", model.label) for model in models]
            files.append(folder / f"agreement-{'-'.join(labels)}.tif")
            map_writing.write_class_map(
                files[-1],
                map_writing.agreement_map(*(m.answers[self.seeds[0]] for m in models)),
                map_writing.agreement_legend(*(model.label for model in models)),
                open_class_map(where / f"{stem}.tif").grid,
                **origin,
            )
        return files


def compare_runs(
    runs: Sequence[str | Path],
    *,
    models: Sequence[str] = (),
    split: str = "main",
    resamples: int = 2000,
    seed: int = 0,
) -> RunComparison:
    """Compare every pair of models of some runs on the same test pixels.

    Parameters
    ----------
    runs : folders of finished runs
    models : names of models to compare; all by default
    split : ``main`` or what the tables call it, or the name of an additional split or of a
        share of the learning curve, such as ``train-0.1``
    resamples, seed
        Number of bootstrap resamples of blocks or fields, and their seed.

    Raises
    ------
    CallError
        If there are fewer than two models, a run is not finished, or their test
        pixels differ; the sentence says how.

    Examples
    --------
    >>> compare_runs(["runs/svm", "runs/network"])  # doctest: +SKIP
    """
    records = {Path(run): run_metrics.read_run_metrics(Path(run)) for run in runs}
    found = [
        model
        for run, record in records.items()
        for model in _models_of(record, models, split, run, list(records))
    ]
    _check_models(found, models, list(records))
    seeds = _common_seeds(found)
    names, codes_by_run, matched = _one_legend(records)
    compared = [model.load(seeds, codes_by_run[model.run]) for model in found]
    for other in compared[1:]:
        _check_same_pixels(compared[0], other, seeds)
    answers = [part for model in compared for part in model.answers.values()]
    codes = sorted({*names, *class_codes(answers)})
    units = units_of_split(compared[0].split.kind, compared[0].split.settings)
    options: dict[str, Any] = {"units": units, "resamples": resamples, "seed": seed}
    pairs = []
    for first, second in combinations(compared, 2):
        both = (list(model.answers.values()) for model in (first, second))
        result = comparison.compare_models(*both, codes=codes, **options)
        pairs.append(ModelPair(first, second, result))
    origin = origin_label(next(iter(records.values())).scene.model_dump())
    notes = (*matched, *_left_out(found, seeds, names, answers))
    return RunComparison(split, seeds, names, tuple(pairs), origin, notes)


def _models_of(
    record: run_metrics.RunMetrics,
    models: Sequence[str],
    split: str,
    run: Path,
    runs: Sequence[Path],
) -> list[ComparedModel]:
    """List the models of a run under a split, all of them or those named."""
    splits = {"main": run_metrics.SplitResults(split=record.split, models=record.models)}
    splits |= record.beside | record.learning_curve
    # The main split has a name in the tables, too.
    title = record.main_name
    name = "main" if split == title else split
    if name not in splits:
        listed = ", ".join([f"main ({title})", *sorted(splits.keys() - {"main"})])
        raise CallError(f"{run} has no split named {split!r}; it has {listed}.")
    alike = sum(other.name == run.name for other in runs) > 1
    prefix = f"{run if alike else run.name}/" if len(runs) > 1 else ""
    of, results = splits[name].split, splits[name].models.items()
    return [
        ComparedModel(f"{prefix}{model}", run, model, name, of, _draws_of(metrics))
        for model, metrics in results
        if not models or model in models
    ]


def _draws_of(model: run_metrics.ModelMetrics) -> dict[int, list[int]]:
    """Return the draws of a model by seed."""
    draws = sorted(row.seed for row in model.repeats if row.seed is not None)
    folds = max(model.folds, 1)
    if folds == 1:
        return {draw: [draw] for draw in draws}
    return {
        draws[0] + repeat: draws[repeat * folds : (repeat + 1) * folds]
        for repeat in range(len(draws) // folds)
    }


def _one_legend(
    records: dict[Path, run_metrics.RunMetrics],
) -> tuple[dict[int, str], dict[Path, dict[int, int]], list[str]]:
    """Give the classes of all runs the codes of the first: by name, or else by code.

    Returns
    -------
    names by code, for each run the code that each of its codes becomes, and notes
    """
    (first, record), *others = records.items()
    names = {row.code: row.name for row in record.legend}
    codes = {first: {code: code for code in names}}
    notes = []
    for run, other in others:
        classes = {row.code: row.name for row in other.legend}
        if all(names.get(code, name) == name for code, name in classes.items()):
            codes[run] = {code: code for code in classes}
            names |= classes
            continue
        labels = LabelMap(np.array([list(classes)], np.uint16), names=classes)
        matched = match_classes(labels, Legend.of(names), str(first))
        codes[run] = dict(zip(classes, matched.codes[0].tolist(), strict=True))
        names = dict(matched.names)
        notes += [f"{run}: {note}" for note in matched.notes]
    return names, codes, notes


def _check_models(
    found: Sequence[ComparedModel], models: Sequence[str], runs: Sequence[Path]
) -> None:
    """Refuse names of no model, and fewer models than two."""
    listed = ", ".join(map(str, runs))
    missing = sorted(set(models) - {model.name for model in found})
    if missing:
        raise CallError(f"No model is named {missing[0]!r} in {listed}; give one that is.")
    if len(found) < 2:
        raise CallError(
            f"A comparison needs at least two models, found {len(found)} in {listed}; give "
            "another run or leave out --model."
        )


def _common_seeds(models: Sequence[ComparedModel]) -> tuple[int, ...]:
    common = set.intersection(*(set(model.draws) for model in models))
    if not common:
        # Of each run its first model.
        seeds = {model.run: _words(model.draws) for model in reversed(models)}
        listed = " and ".join(f"{run} has {seeds[run]}" for run in reversed(seeds))
        raise CallError(
            f"The runs have no seed in common: {listed}; run one with the seed of the other."
        )
    return tuple(sorted(common))


def _words(seeds: Iterable[int]) -> str:
    listed = sorted(seeds)
    name = "seed" if len(listed) == 1 else "seeds"
    return f"{name} {', '.join(map(str, listed))}" if listed else "none"


def _check_same_pixels(
    first: ComparedModel, second: ComparedModel, seeds: Sequence[int]
) -> None:
    """Refuse models that were tested on other pixels, and say how these differ."""
    for seed in seeds:
        difference = comparison.describe_test_difference(
            first.answers[seed], second.answers[seed]
        )
        if difference:
            splits = _split_difference(first.split, second.split)
            raise CallError(
                f"{first.label} and {second.label} were tested on other pixels: under seed "
                f"{seed} {difference}{splits}; compare runs of the same scene, split and seed."
            )


def _split_difference(
    first: run_metrics.SplitMetrics, second: run_metrics.SplitMetrics
) -> str:
    """Describe how two splits were made, where that differs."""
    if first.kind != second.kind:
        return f" (splits of the kinds {first.kind} and {second.kind})"
    values = (
        (key, first.settings.get(key), second.settings.get(key))
        for key in sorted({*first.settings, *second.settings} - {"origin"})
    )
    differing = [f"{key} {this} and {that}" for key, this, that in values if this != that]
    return f" (splits with {', '.join(differing)})" if differing else ""


def _left_out(
    models: Sequence[ComparedModel],
    seeds: Sequence[int],
    names: dict[int, str],
    answers: Sequence[Predictions],
) -> Iterator[str]:
    """Name seeds that not all have, and classes without a test pixel."""
    more = {seed for model in models for seed in model.draws} - set(seeds)
    if more:
        yield f"Not all have {_words(more)}, so these were left out."
    tested = {
        int(code) for predictions in answers for code in np.unique(predictions.labels)
    }
    untested = [name for code, name in names.items() if code not in tested]
    if untested:
        yield f"Without a test pixel, so not compared: {', '.join(untested)}."
