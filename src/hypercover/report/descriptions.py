"""Facts of a run as sentences: splits, leakage, maps and trainings."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hypercover.errors import counted
from hypercover.evaluation import run_metrics
from hypercover.figures.formatting import describe_share, format_percent

_MOST_PIXELS = 10**9


def describe_leakage(
    leakage: run_metrics.LeakageMetrics, neighbours: float | None = None
) -> str:
    """Say what the test had in common with the training: of windows, and of features.

    ``neighbours`` is the share of test pixels that touch a training pixel: all
    that can be said of a model that looks at single pixels.
    """
    carried = leakage.features.sentence if leakage.features else ""
    return f"{_describe_windows(leakage, neighbours)} {carried}".rstrip()


def _describe_windows(leakage: run_metrics.LeakageMetrics, neighbours: float | None) -> str:
    """Say in one sentence what the windows of test pixels had in common with others."""
    if leakage.centre_in_window is None and leakage.window_overlap is None:
        return "The leak audit has no figures."
    if leakage.window <= 1:
        of = "the features of " if leakage.features else ""
        alone = f"It looks at {of}single pixels: no window is shared"
        if neighbours is None:
            return f"{alone}."
        joint = "but" if neighbours else "and"
        return f"{alone}, {joint} {describe_share(neighbours)} test pixels touch a training pixel."
    side = f"{leakage.window} × {leakage.window}"
    if not leakage.centre_in_window and not leakage.window_overlap:
        return f"No {side} window around a test pixel touches one around a training pixel."
    seen = describe_share(leakage.centre_in_window)
    touched = describe_share(leakage.window_overlap)
    return (
        f"{seen[0].upper()}{seen[1:]} test pixels had a training pixel inside their "
        f"{side} window; {touched} test windows shared pixels with a training window."
    )


def describe_split(split: run_metrics.SplitMetrics) -> str:
    """Say how a split was made.

    Examples
    --------
    >>> folds = {"by": "fields", "folds": 5, "guard": 8}
    >>> describe_split(run_metrics.SplitMetrics(kind="kfold", settings=folds))
    '5 folds of whole fields, guard 8 px'
    >>> describe_split(run_metrics.SplitMetrics(kind="saved", settings={"kind": "random", "train": 0.1}))
    'saved before: random pixels, 10 % of each class train'
    """
    settings = split.settings
    train, guard = _amount(settings.get("train")), settings.get("guard")
    if split.kind in _TAKEN_OVER:
        original, how = str(settings.get("kind", "given")), "a split"
        if original not in (*_TAKEN_OVER, "given", "none"):
            how = describe_split(run_metrics.SplitMetrics(kind=original, settings=settings))
        return f"{_TAKEN_OVER[split.kind]}: {how}"
    if split.kind == "random":
        return f"random pixels, {train} of each class train" if train else "random pixels"
    if split.kind in _WHOLE:
        share = f"{train} of {_WHOLE[split.kind]} train" if train else ""
        kept = f"guard {guard} px" if guard is not None else ""
        return ", ".join(part for part in (_describe_pieces(split), share, kept) if part)
    if split.kind == "none":
        return "all labelled pixels train, none is tested"
    if split.kind == "published":
        return f"the published split {settings.get('name', '')}".rstrip()
    return "pixels marked in files" if split.kind == "masks" else f"{split.kind} split"


_TAKEN_OVER = {"saved": "saved before", "windows": "the parts of a window file"}
"""Kinds of split made of another, which their settings name."""

_WHOLE = {
    "blocks": "the labels",
    "fields": "each class",
    "clusters": "each class",
    "kfold": "the labels",
    "leave-one-out": "the labels",
}
"""Kinds of split by whole pieces of land, and of what they take a share."""


def _describe_pieces(split: run_metrics.SplitMetrics) -> str:
    """Name the pieces of land that a split keeps whole."""
    settings = split.settings
    size = settings.get("size")
    blocks = f"blocks of {size} px" if size else "blocks"
    if split.kind == "kfold":
        pieces = blocks if settings.get("by") != "fields" else "whole fields"
        return f"{settings.get('folds', 'some')} folds of {pieces}"
    if split.kind == "leave-one-out":
        return f"shapes left out in {settings.get('folds', 'some')} folds"
    if split.kind == "clusters":
        first = "most varied" if settings.get("order") == "spread" else "largest"
        cut = ", the last one cut" if settings.get("cut") else ""
        return f"clusters, the {first} first{cut}"
    return blocks if split.kind == "blocks" else "whole fields"


def describe_spread(splits: Mapping[str, run_metrics.SplitResults]) -> str:
    """State what ± refers to, seeds or folds; empty for a single draw.

    Examples
    --------
    >>> def drawn(draws, folds=1):
    ...     models = {"svm": {"repeats": [{}] * draws, "folds": folds}}
    ...     return run_metrics.SplitResults(models=models)
    >>> splits = {"blocks": drawn(5), "random": drawn(5), "folds": drawn(4, 4), "mask": drawn(1)}
    >>> describe_spread(splits)
    '± is one standard deviation, over 5 seeds under blocks, random, over 4 folds under folds.'
    >>> describe_spread({"kfold": drawn(8, 4)})
    '± is one standard deviation, over the 8 folds of 2 seeds under kfold.'
    """
    names: dict[str, list[str]] = {}
    for name, split in splits.items():
        model = next(reversed(split.models.values()), run_metrics.ModelMetrics())
        draws = len(model.repeats)
        over = f"over {draws} {'folds' if model.folds > 1 else 'seeds'}"
        if model.folds > 1 and model.seeds > 1:
            over = f"over the {draws} folds of {model.seeds} seeds"
        if draws > 1:
            names.setdefault(over, []).append(name)
    parts = [f"{over} under {', '.join(each)}" for over, each in names.items()]
    return f"± is one standard deviation, {', '.join(parts)}." if parts else ""


def describe_draws(model: run_metrics.ModelMetrics) -> str:
    """Name the seeds and folds behind the figures of a model; empty for a single one.

    Examples
    --------
    >>> describe_draws(run_metrics.ModelMetrics(repeats=[{}] * 5))
    'mean of 5 seeds'
    >>> describe_draws(run_metrics.ModelMetrics(repeats=[{}] * 6, folds=3))
    '3 folds together, mean of 2 seeds'
    """
    folds = f"{model.folds} folds together" if model.folds > 1 else ""
    return ", ".join(
        filter(None, [folds, f"mean of {model.seeds} seeds" if model.seeds > 1 else ""])
    )


def crs_name(crs: str | None) -> str:
    """Return the name of a coordinate system out of its full description.

    Examples
    --------
    >>> crs_name('PROJCS["WGS 84 / UTM zone 16N",GEOGCS["WGS 84"]]')
    'WGS 84 / UTM zone 16N'
    >>> crs_name(None)
    'none: the image is not tied to the ground'
    """
    if not crs:
        return "none: the image is not tied to the ground"
    named = re.match(r'\s*\w+\s*\[\s*"([^"]+)"', crs)
    return named.group(1) if named else crs[:80]


def _amount(train: Any) -> str:
    number = isinstance(train, int | float) and not isinstance(train, bool)
    if not number or not 0 < train < _MOST_PIXELS:
        return ""
    return f"{format_percent(train, 0)} %" if train < 1 else f"{train:g} pixels"


def describe_map_training(facts: run_metrics.MapTraining) -> str:
    """Say which pixels the models that map were trained on.

    Examples
    --------
    >>> describe_map_training(run_metrics.MapTraining.model_validate({"from": "all", "pixels": 792}))
    'Maps are made by models trained again on all 792 labelled pixels; accuracies are those of models trained on the training pixels alone.'
    >>> describe_map_training(run_metrics.MapTraining.model_validate({"from": "split", "pixels": 132}))
    'Maps are made by the models that were tested, trained on 132 training pixels (map_from: split).'
    """
    if facts.source != "all":
        return (
            "Maps are made by the models that were tested, trained on "
            f"{facts.pixels:,} training pixels (map_from: split)."
        )
    pixels = f"all {facts.pixels:,} labelled pixels"
    if not facts.again:
        return f"Maps are made by models trained on {pixels}; none is left to test them by."
    return (
        f"Maps are made by models trained again on {pixels}; accuracies are those of models "
        "trained on the training pixels alone."
    )


def describe_missing_classes(facts: run_metrics.MapTraining) -> str:
    """Name the classes that a map cannot show, as no pixel of them was trained on.

    Examples
    --------
    >>> describe_missing_classes(run_metrics.MapTraining.model_validate({"missing": [{"code": 4, "name": "oats"}]}))
    'The map cannot show oats (4): no pixel of it was trained on.'
    """
    if not facts.missing:
        return ""
    named = ", ".join(f"{row.name} ({row.code})" for row in facts.missing)
    of = "it" if len(facts.missing) == 1 else "them"
    return f"The map cannot show {named}: no pixel of {of} was trained on."


def describe_training(training: run_metrics.TrainingMetrics) -> str:
    """Say where and on how much a network was trained.

    Examples
    --------
    >>> describe_training(run_metrics.TrainingMetrics(device="cpu", precision="float32", processes=2, epochs=10,
    ...                         samples=6950))
    'on cpu in float32, 2 processes, 10 epochs, 6,950 samples seen'
    """
    parts = [f"on {training.device} in {training.precision}"]
    if training.processes > 1:
        parts.append(f"{training.processes} processes")
    parts += [counted(training.epochs, "epoch"), f"{training.samples:,} samples seen"]
    return ", ".join(parts)


COMPOSITES = {
    "true": "true colour",
    "infrared": "false colour, near infrared",
    "shortwave": "false colour, short-wave infrared",
    "spread": "false colour",
    "grey": "one band in grey",
}
"""Names of the colour composites by the keys that they are kept under."""


def composite_title(key: str, bands: Iterable[float], in_nm: bool) -> str:
    """Name a colour composite and its bands.

    Examples
    --------
    >>> composite_title("true", [655.2, 560.0, 450.0], True)
    'true colour (655, 560, 450 nm)'
    >>> composite_title("grey", [1.0, 1.0, 1.0], False)
    'one band in grey (band 1)'
    """
    names = [f"{float(band):.0f}" for band in bands]
    listed, word = (names[0], "band") if key == "grey" else (", ".join(names), "bands")
    shown = f"{listed} nm" if in_nm else f"{word} {listed}"
    return f"{COMPOSITES.get(key, 'picture')} ({shown})"


def ordinal(number: int) -> str:
    """Return a number as its place in a row.

    Examples
    --------
    >>> [ordinal(number) for number in (2, 3, 4, 11, 12, 21)]
    ['2nd', '3rd', '4th', '11th', '12th', '21st']
    """
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def describe_subsampling(shape: tuple[int, int], step: int, spectra_step: int) -> str:
    """Say which pixels of a scene are shown, and which have a spectrum; nothing if all.

    Examples
    --------
    >>> describe_subsampling((145, 145), 1, 1)
    ''
    >>> describe_subsampling((1417, 617), 2, 8)
    'The scene has 1,417 × 617 pixels; every 2nd pixel of every 2nd row is shown. Spectra are kept of every 8th pixel of every 8th row.'
    """
    each, kept = ordinal(step), ordinal(spectra_step)
    size = f"The scene has {shape[0]:,} × {shape[1]:,} pixels"
    shown = f"{size}; every {each} pixel of every {each} row is shown." if step > 1 else ""
    spectra = f"Spectra are kept of every {kept} pixel of every {kept} row."
    return " ".join(filter(None, [shown, spectra if spectra_step > 1 else ""]))
