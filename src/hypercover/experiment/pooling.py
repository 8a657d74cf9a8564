"""From the folds of a seed to one result: every pixel was tested once, so errors add up."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypercover.evaluation.evaluate import Evaluation
from hypercover.experiment.summary import added_confusion, spread_of, summarise

__all__ = ["pool_splits", "summarise_folds"]

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
        leakage[share] = _mean([one["leakage"][share] for one in results], tested)
    rows = [
        {**row, "train_count": sum(counts) / len(counts)}
        for row, *counts in zip(
            results[0]["per_class"],
            *([row["train_count"] for row in one["per_class"]] for one in results),
            strict=True,
        )
    ]
    together = {
        "confusion": added_confusion(results),
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


def _mean(shares: Sequence[float], weights: Sequence[int]) -> float:
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
            share: _mean([one["leakage"][window][share] for one in splits], tested)
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
