"""The table of the README: the same models under random, fixed and guard-banded splits.

Reads the scenes in the folder named by HYPERCOVER_DATA and runs hypercover's
own experiments on them.  Stopped, it goes on where it was.  The last line is
the ratio of the CNN's error under guard-banded blocks to that under random
pixels: how much the usual protocol hides.

    HYPERCOVER_DATA=… python benchmarks/honest_table.py [--out runs/honest] [--workers 1]
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from data import DATA, check_data

from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.run import run_experiment

MODELS = {
    "svm": {"kind": "svm"},
    "cnn": {"kind": "cnn", "network": "default", "window": 9},
}
STAND_IN = {
    "path": "derived/indian_pines_rank37_reconstruction.npz",
    "labels": "indian_pines/19920612_AVIRIS_IndianPine_Site3_gr.tif",
    "axes": "row,col,band",
    "name": "Indian Pines stand-in",
}
SALINAS_A = {
    "path": "salinas_a/SalinasA_corrected.mat",
    "labels": "salinas_a/SalinasA_gt.mat",
    "name": "Salinas-A",
}
FIXED = {
    "kind": "masks",
    "train": "indian_pines/IndianTR123_temp123.tif",
    "test": "indian_pines/IndianTE123_temp123.tif",
}
BLOCKS = {"kind": "blocks", "size": 15, "train": 0.25, "guard": 4}
EXPERIMENTS: list[tuple[str, dict[str, Any], dict[str, Any], range]] = [
    ("random 10 %", STAND_IN, {"kind": "random", "train": 0.1}, range(1)),
    ("fixed maps, 695 / 9671 pixels", STAND_IN, FIXED, range(1)),
    ("blocks of 15, guard 4", STAND_IN, BLOCKS, range(5)),
    ("blocks of 15, guard 4, new draws", STAND_IN, BLOCKS, range(100, 105)),
    ("blocks of 15, guard 8", STAND_IN, BLOCKS | {"guard": 8}, range(5)),
    ("random 10 %", SALINAS_A, {"kind": "random", "train": 0.1}, range(1)),
    ("blocks of 8, guard 8", SALINAS_A, BLOCKS | {"size": 8, "guard": 8}, range(5)),
]


def percent(value: float | None, spread: float | None = None) -> str:
    """Write a share in percent, with its spread over the seeds where there is one."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def row(scene: str, split: str, metrics: dict[str, Any]) -> str:
    """Write one line of the table: a split, its leak audit and what each model scores."""
    leak = metrics["split"]["leakage"]["9"]
    scores = [
        percent(model["overall_accuracy"], (model["spread"] or {}).get("overall_accuracy"))
        for model in metrics["models"].values()
    ]
    shares = percent(leak["centre_in_window"]), percent(leak["window_overlap"])
    return "| " + " | ".join((scene, split, *shares, *scores)) + " |"


def main() -> None:
    """Run every experiment and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/honest"))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    check_data(parser)
    errors: dict[str, float] = {}
    print("| scene | split | centre in window | window overlap | SVM | CNN |")
    print("|---|---|---|---|---|---|", flush=True)
    for title, scene, split, seeds in EXPERIMENTS:
        name = re.sub("[^A-Za-z0-9]+", "-", f"{scene['name']} {title}").strip("-")
        document = {
            "name": name,
            "scene": scene,
            "split": split,
            "models": MODELS,
            "seed": seeds.start,
            "repeats": len(seeds),
        }
        experiment = parse(document, DATA, title=name)
        folder = options.out / name
        metrics = run_experiment(experiment, folder, workers=options.workers)
        errors[name] = 1 - metrics["models"]["cnn"]["overall_accuracy"]
        print(row(scene["name"], title, metrics), flush=True)
        seconds = metrics["models"]["cnn"]["train_seconds"]
        print(f"{name}: the CNN trained in {seconds:.0f} s", file=sys.stderr)
    guarded = errors["Indian-Pines-stand-in-blocks-of-15-guard-4"]
    print(f"ratio: {guarded / errors['Indian-Pines-stand-in-random-10']:.1f}")


if __name__ == "__main__":
    main()
