"""The table of the page on splits: what each protocol leaves, leaks, and lets an SVM claim.

Reads the Indian Pines stand-in in the folder named by HYPERCOVER_DATA, trains the
default SVM on single pixels under every kind of split, and prints one line a split.
Stopped, it goes on where it was.  The last line is the error under the hardest
protocol over that under the easiest.

    HYPERCOVER_DATA=… python benchmarks/protocols.py [--out runs/protocols] [--repeats 5]
"""

import argparse
from pathlib import Path
from typing import Any

from data import DATA, check_data

from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.run import run_experiment

SCENE = {
    "path": "derived/indian_pines_rank37_reconstruction.npz",
    "labels": "indian_pines/19920612_AVIRIS_IndianPine_Site3_gr.tif",
    "axes": "row,col,band",
    "name": "Indian Pines stand-in",
}
PUBLISHED = {"kind": "published", "path": "indian_pines"}
LANGE = {"kind": "clusters", "train": 0.25, "min_pixels": 9, "cut": True, "guard": 0}
DRAWN = {
    "random 25 %": {"kind": "random", "train": 0.25},
    "blocks of 15, guard 0": {"kind": "blocks", "guard": 0},
    "blocks of 15, guard 8": {"kind": "blocks", "guard": 8},
    "fields, guard 0": {"kind": "fields", "guard": 0},
    "fields, guard 8": {"kind": "fields", "guard": 8},
}
FIXED = {
    "published `indian-pines-fixed`": PUBLISHED | {"name": "indian-pines-fixed"},
    "published `indian-pines-dase`": PUBLISHED | {"name": "indian-pines-dase"},
    "clusters as published, `cut`, guard 0": LANGE,
    "clusters, guard 0": {"kind": "clusters", "guard": 0},
    "clusters, guard 8": {"kind": "clusters", "guard": 8},
    "5 folds of blocks of 15, guard 8": {"kind": "kfold", "guard": 8},
    "5 folds of fields, guard 8": {"kind": "kfold", "by": "fields", "guard": 8},
}
"""Splits of which one is enough: they are the same for every seed, or test all land."""


def run(name: str, splits: dict[str, Any], repeats: int, out: Path) -> dict[str, Any]:
    """Run the SVM under some splits; return what was found under each."""
    keys = {f"s{number}": said for number, said in enumerate(splits)}
    first, *others = keys
    document = {
        "name": name,
        "scene": SCENE,
        "split": splits[keys[first]],
        "beside": {key: splits[keys[key]] for key in others},
        "models": {"svm": {"kind": "svm"}},
        "repeats": repeats,
        "map": False,
    }
    experiment = parse(document, DATA, title=name)
    metrics = run_experiment(experiment, out / name, workers=1)
    found = {"split": metrics["split"], "models": metrics["models"]}
    return {keys[first]: found} | {keys[key]: metrics["beside"][key] for key in others}


def line(said: str, part: dict[str, Any]) -> str:
    """Write one line of the table."""
    split, model = part["split"], part["models"]["svm"]
    leak, spread = split["leakage"]["9"], model["spread"] or {}
    scores = [f"{100 * model[key]:.1f}" for key in ("overall_accuracy", "average_accuracy")]
    if spread:
        scores[0] += f" ± {100 * spread['overall_accuracy']:.1f}"
    cells = [
        said,
        f"{split['train']['count']:,.0f} / {split['test']['count']:,.0f}",
        str(len(split["train"]["per_class"]) - len(split["unscored"])),
        f"{100 * leak['centre_in_window']:.1f}",
        f"{100 * leak['window_overlap']:.1f}",
        *scores,
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run every protocol and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/protocols"))
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    check_data(parser)
    found = run("drawn", DRAWN, asked.repeats, asked.out)
    found |= run("fixed", FIXED, 1, asked.out)
    print(
        "| split | train / test | classes | centre in window | window overlap | SVM overall "
        "| SVM average |"
    )
    print("|---|---|---|---|---|---|---|")
    for said, part in found.items():
        print(line(said, part))
    scores = [part["models"]["svm"]["overall_accuracy"] for part in found.values()]
    print(f"Protocols apart by {100 * (max(scores) - min(scores)):.1f} points.")
    print(f"ratio: {(1 - min(scores)) / (1 - max(scores)):.1f}")


if __name__ == "__main__":
    main()
