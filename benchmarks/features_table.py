"""What engineered features are worth to an SVM, under random, fixed and guarded splits.

The Indian Pines stand-in in the folder named by HYPERCOVER_DATA: raw bands; the
lecture's chain (kernel PCA, attribute profiles on the tree of shapes, NWFE); the
same on MNF components.  C and gamma are the defaults throughout.  Prints overall
accuracy and, beside it, what the features carry across the split: the share of
test pixels that lie in one flat zone with a training pixel, in the mean over all
features.  The last line is
the ratio of what the lecture's chain gains under random pixels to what it gains
under guard-banded blocks, in points.

    HYPERCOVER_DATA=… python benchmarks/features_table.py [--out runs/features] [--workers 1]
"""

import argparse
from pathlib import Path
from typing import Any

from data import DATA, check_data
from honest_table import BLOCKS, FIXED, STAND_IN, percent

from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.run import run_experiment

CHAINS = {"lecture": "kpca:5,esdap:area+std", "mnf": "mnf:10,esdap:area"}
MODELS = {
    "raw bands": {"kind": "svm"},
    "raw bands, NWFE 30": {"kind": "svm", "nwfe": 30},
    "KPCA, ESDAP": {"kind": "svm", "features": "lecture"},
    "KPCA, ESDAP, NWFE 30": {"kind": "svm", "features": "lecture", "nwfe": 30},
    "MNF, ESDAP, NWFE 30": {"kind": "svm", "features": "mnf", "nwfe": 30},
}
KEYS = {name: f"model-{place}" for place, name in enumerate(MODELS)}
SPLITS: list[tuple[str, dict[str, Any], range]] = [
    ("random 10 %", {"kind": "random", "train": 0.1}, range(5)),
    ("fixed maps, 695 / 9671 pixels", FIXED, range(1)),
    ("blocks of 15, guard 4", BLOCKS, range(5)),
    ("blocks of 15, guard 4, new draws", BLOCKS, range(100, 105)),
]


def cell(model: dict[str, Any]) -> str:
    """Write accuracy and, where there are spatial features, what they carry across."""
    score = percent(
        model["overall_accuracy"], (model["spread"] or {}).get("overall_accuracy")
    )
    shared = (model["leakage"].get("features") or {}).get("mean_zone")
    return score if shared is None else f"{score} (zones {percent(shared)})"


def main() -> None:
    """Run every experiment and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/features"))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    check_data(parser)
    gains = {}
    print("| split | " + " | ".join(MODELS) + " |")
    print("|---|" + "---|" * len(MODELS), flush=True)
    for place, (title, split, seeds) in enumerate(SPLITS):
        content = {
            "name": f"features-{place}",
            "seed": seeds.start,
            "repeats": len(seeds),
            "scene": STAND_IN,
            "features": CHAINS,
            "split": split,
            "models": {KEYS[name]: spec for name, spec in MODELS.items()},
            "map": False,
        }
        experiment = parse(content, DATA)
        metrics = run_experiment(
            experiment, options.out / experiment.name, workers=options.workers
        )
        found = {name: metrics["models"][KEYS[name]] for name in MODELS}
        print(f"| {title} | " + " | ".join(map(cell, found.values())) + " |", flush=True)
        gains[title] = (
            found["KPCA, ESDAP, NWFE 30"]["overall_accuracy"]
            - found["raw bands"]["overall_accuracy"]
        )
    for title, gain in gains.items():
        print(f"the lecture's chain gains {100 * gain:+.1f} points under {title}")
    print(f"ratio: {gains['random 10 %'] / gains['blocks of 15, guard 4']:.1f}")


if __name__ == "__main__":
    main()
