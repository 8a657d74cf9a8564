"""Comparing runs: every pair of their models on the test pixels they have in common."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypercover.errors import CallError
from hypercover.evaluation.comparison import (
    Comparison,
    compare_models,
    describe_test_difference,
)
from hypercover.evaluation.intervals import class_codes
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.result_plots import format_result, plot_differences
from hypercover.evaluation.run_metrics import (
    ModelMetrics,
    RunMetrics,
    SplitMetrics,
    SplitResults,
    read_run_metrics,
)
from hypercover.evaluation.sampling_units import units_of_split
from hypercover.experiment.results.outputs import check_unchanged
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.files import csv_text, write_json, write_text
from hypercover.report.descriptions import main_split_name
from hypercover.scene.labels import LabelMap, match_classes
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import origin_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """One model of one run, with its answers under every seed."""

    label: str
    """Its name, with that of its run where there are several."""
    run: RunFolder
    """Where it lies."""
    split: SplitMetrics
    """How the labelled pixels were divided."""
    answers: dict[int, Predictions]
    """Answers for the test pixels by seed."""


@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models and how they compare."""

    first: ComparedModel
    second: ComparedModel
    comparison: Comparison


@dataclass(frozen=True, eq=False, repr=False)
class RunComparison:
    """All pairs of models of some runs."""

    split: str
    """Name of the split: main, or that of one beside it."""
    seeds: tuple[int, ...]
    """Seeds that all have."""
    names: dict[int, str]
    """Class names by code."""
    pairs: tuple[ModelPair, ...]
    """Every pair once."""
    mark: str = ""
    """What must be said of a scene that was not measured."""
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
                    "first": {"model": pair.first.label, "run": str(pair.first.run.path)},
                    "second": {
                        "model": pair.second.label,
                        "run": str(pair.second.run.path),
                    },
                    **pair.comparison.to_json(),
                }
                for pair in self.pairs
            ],
        }

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each measure of each pair."""
        for pair in self.pairs:
            names = {"first": pair.first.label, "second": pair.second.label}
            for measure, code, one in pair.comparison.rows:
                values = one.to_row()
                yield {
                    **names,
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
            [one.difference for one in overall],
            [one.interval for one in overall],
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
        rows = list(self._rows())
        lines = [
            [f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row.values()]
            for row in rows
        ]
        return csv_text([list(rows[0]), *lines])

    def write(self, folder: Path) -> list[Path]:
        """Write ``comparison.json``, ``comparison.csv`` and an agreement map of each pair.

        The maps are those of the first seed; each says who is right where.
        """
        from hypercover.gis.agreement import agreement_legend, agreement_map
        from hypercover.gis.class_map_files import write_class_map
        from hypercover.scene.class_map import open_class_map

        files = [folder / "comparison.json", folder / "comparison.csv"]
        write_json(files[0], self.to_json())
        write_text(files[1], self.csv())
        for pair in self.pairs:
            one, other = pair.first, pair.second
            where, stem = one.run.split("main", 0)
            check_unchanged(one.run.path, f"{stem}.tif")
            land = open_class_map(where / f"{stem}.tif")
            path = folder / f"agreement-{_plain(one.label)}-{_plain(other.label)}.tif"
            write_class_map(
                path,
                agreement_map(one.answers[self.seeds[0]], other.answers[self.seeds[0]]),
                agreement_legend(one.label, other.label),
                land.grid,
                simulated=self.mark == origin_label({"simulated": True}),
                stand_in=self.mark == origin_label({"stand_in": True}),
            )
            files.append(path)
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
    split : ``main`` or what the tables call it, or the name of a split beside it or of a
        share of the learning curve, such as ``train-0.1``
    resamples, seed
        How often blocks or fields are drawn anew, and the seed of these draws.

    Raises
    ------
    CallError
        If there are fewer than two models, a run is not finished, or their test
        pixels differ; the sentence says how.
    """
    records = {Path(run): read_run_metrics(Path(run)) for run in runs}
    asked = {run: _chosen(record, models, split, run) for run, record in records.items()}
    _check_models(asked, models)
    seeds = _common_seeds(asked)
    names, moved, matched = _one_legend(records)
    entrants = [
        _entrant(run, name, model, seeds=seeds, runs=asked, codes=moved[run])
        for run, (_, _, chosen) in asked.items()
        for name, model in chosen.items()
    ]
    for other in entrants[1:]:
        _check_same(entrants[0], other, seeds)
    every = [one for entrant in entrants for one in entrant.answers.values()]
    record = next(iter(records.values()))
    codes = sorted({*names, *class_codes(every)})
    units = units_of_split(entrants[0].split.kind, entrants[0].split.settings)
    pairs = tuple(
        ModelPair(one, other, compare_models(
            list(one.answers.values()), list(other.answers.values()),
            units=units, codes=codes, resamples=resamples, seed=seed,
        ))
        for one, other in combinations(entrants, 2)
    )  # fmt: skip
    said = origin_label(record.scene.model_dump())
    notes = (*matched, *_left_out(asked, seeds, names, every))
    return RunComparison(split, seeds, names, pairs, said, notes)


Asked = dict[Path, tuple[str, SplitMetrics, dict[str, ModelMetrics]]]
"""By run: the name under which it keeps the split, the split, and the models asked for."""


def _one_legend(
    records: dict[Path, RunMetrics],
) -> tuple[dict[int, str], dict[Path, dict[int, int]], list[str]]:
    """Give the classes of all runs the codes of the first: by name, or else by code.

    Returns
    -------
    names by code, for each run the code that each of its codes becomes, and notes
    """
    runs = list(records.items())
    first, record = runs[0]
    names = {row.code: row.name for row in record.legend}
    moved = {first: {code: code for code in names}}
    notes = []
    for run, other in runs[1:]:
        own = {row.code: row.name for row in other.legend}
        moved[run] = {code: code for code in own}
        if all(names.get(code, name) == name for code, name in own.items()):
            names |= own
            continue
        labels = LabelMap(np.array([list(own)], np.uint16), names=own)
        found = match_classes(labels, Legend.of(names), str(first))
        moved[run] = dict(zip(own, found.codes[0].tolist(), strict=True))
        names = dict(found.names)
        notes += [f"{run}: {note}" for note in found.notes]
    return names, moved, notes


def _chosen(
    record: RunMetrics, models: Sequence[str], split: str, run: Path
) -> tuple[str, SplitMetrics, dict[str, ModelMetrics]]:
    """Return a split of a run and the models asked for."""
    kept = {"main": SplitResults(split=record.split, models=record.models)}
    kept |= record.beside | record.learning_curve
    gap = record.gap is not None
    # The main split answers to the name by which the tables call it, too.
    called = main_split_name(record.split.kind, record.beside, gap=gap)
    name = "main" if split == called else split
    if name not in kept:
        others = ", ".join(sorted(kept.keys() - {"main"}))
        shown = f"main ({called})" + (f", {others}" if others else "")
        raise CallError(f"{run} has no split named {split!r}; it has {shown}.")
    known = kept[name].models
    chosen = {one: model for one, model in known.items() if not models or one in models}
    return name, kept[name].split, chosen


def _check_models(asked: Asked, models: Sequence[str]) -> None:
    """Refuse names of no model, and fewer models than two."""
    known = {name for _, _, chosen in asked.values() for name in chosen}
    runs = ", ".join(map(str, asked))
    missing = sorted(set(models) - known)
    if missing:
        raise CallError(f"No model is named {missing[0]!r} in {runs}; give one that is.")
    count = sum(len(chosen) for _, _, chosen in asked.values())
    if count < 2:
        raise CallError(
            f"A comparison needs at least two models, found {count} in {runs}; give another "
            "run or leave out --model."
        )


def _draws_of(model: ModelMetrics) -> dict[int, list[int]]:
    """Return for each seed the draws of the split that it made: one, or one a fold."""
    draws = sorted(row.seed for row in model.repeats if row.seed is not None)
    folds = max(model.folds, 1)
    return (
        {
            draws[0] + repeat: draws[repeat * folds : (repeat + 1) * folds]
            for repeat in range(len(draws) // folds)
        }
        if folds > 1
        else {draw: [draw] for draw in draws}
    )


def _seeds_of(model: ModelMetrics) -> set[int]:
    return set(_draws_of(model))


def _common_seeds(asked: Asked) -> tuple[int, ...]:
    each = [
        _seeds_of(model) for _, _, chosen in asked.values() for model in chosen.values()
    ]
    common = set.intersection(*each)
    if not common:
        told = " and ".join(
            f"{run} has {_words(_seeds_of(next(iter(chosen.values()))))}"
            for run, (_, _, chosen) in asked.items()
            if chosen
        )
        raise CallError(
            f"The runs have no seed in common: {told}; run one with the seed of the other."
        )
    return tuple(sorted(common))


def _words(seeds: set[int]) -> str:
    listed = sorted(seeds)
    if len(listed) == 1:
        return f"seed {listed[0]}"
    return f"seeds {', '.join(map(str, listed))}" if listed else "none"


def _entrant(
    path: Path,
    name: str,
    model: ModelMetrics,
    *,
    seeds: Sequence[int],
    runs: Asked,
    codes: dict[int, int],
) -> ComparedModel:
    run, draws = RunFolder(path), _draws_of(model)
    kept, split, _ = runs[path]
    answers = {
        seed: Predictions.joined([
            Predictions.load(run.predictions(kept, draw, name)) for draw in draws[seed]
        ]).recoded(codes)
        for seed in seeds
    }  # fmt: skip
    return ComparedModel(_label(path, name, list(runs)), run, split, answers)


def _label(run: Path, model: str, runs: Sequence[Path]) -> str:
    """Name a model, with its run where there are several, by as much as tells them apart."""
    if len(runs) == 1:
        return model
    alike = sum(other.name == run.name for other in runs) > 1
    return f"{run if alike else run.name}/{model}"


def _check_same(one: ComparedModel, other: ComparedModel, seeds: Sequence[int]) -> None:
    """Refuse models that were tested on other pixels, and say how these differ."""
    for seed in seeds:
        said = describe_test_difference(one.answers[seed], other.answers[seed])
        if said:
            raise CallError(
                f"{one.label} and {other.label} were tested on other pixels: under seed "
                f"{seed} {said}{_splits(one.split, other.split)}; compare runs of the same "
                "scene, split and seed."
            )


def _splits(one: SplitMetrics, other: SplitMetrics) -> str:
    """Say how two splits were made, where that differs."""
    if one.kind != other.kind:
        return f" (splits of the kinds {one.kind} and {other.kind})"
    keys = [
        key
        for key in sorted({*one.settings, *other.settings} - {"origin"})
        if one.settings.get(key) != other.settings.get(key)
    ]
    if not keys:
        return ""
    told = (f"{key} {one.settings.get(key)} and {other.settings.get(key)}" for key in keys)
    return f" (splits with {', '.join(told)})"


def _left_out(
    asked: Asked, seeds: Sequence[int], names: dict[int, str], every: Sequence[Predictions]
) -> Iterator[str]:
    """Name seeds that not all have, and classes that nobody was asked for."""
    more = {
        seed
        for _, _, chosen in asked.values()
        for model in chosen.values()
        for seed in _seeds_of(model) - set(seeds)
    }
    if more:
        yield f"Not all have {_words(more)}, so these were left out."
    tested = {int(code) for one in every for code in set(one.labels.tolist())}
    empty = [name for code, name in names.items() if code not in tested]
    if empty:
        yield f"Without a test pixel, so not compared: {', '.join(empty)}."


def _plain(label: str) -> str:
    """Turn a label into a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", label)
