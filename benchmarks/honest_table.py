"""The table of the README: the same models under random, fixed and guard-banded splits.

Reads the scenes in the folder named by HYPERCOVER_DATA and runs hypercover's
own experiments on them.  Stopped, it goes on where it was.  The last line is
the ratio of the CNN's error under guard-banded blocks to that under random
pixels: how much the usual protocol hides.

    HYPERCOVER_DATA=… python benchmarks/honest_table.py [--out runs/honest] [--workers 1]
"""

import argparse
import os
from pathlib import Path
from typing import Any

from hypercover.experiment.reading import parse
from hypercover.experiment.run import run_experiment

DATA = Path(os.environ["HYPERCOVER_DATA"])
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
EXPERIMENTS: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    ("random-10", STAND_IN, {"kind": "random", "train": 0.1}, 1),
    ("fixed-695", STAND_IN, FIXED, 1),
    ("blocks-15-guard-4", STAND_IN, BLOCKS, 5),
    ("blocks-15-guard-8", STAND_IN, BLOCKS | {"guard": 8}, 5),
    ("salinas-a-random-10", SALINAS_A, {"kind": "random", "train": 0.1}, 1),
]


def percent(value: float | None, spread: float | None) -> str:
    """Write a share in percent, with its spread over the seeds where there is one."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def main() -> None:
    """Run every experiment and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/honest"))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    errors: dict[str, float] = {}
    print("| scene | split | seeds | model | overall | average | kappa | leak | train s |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, scene, split, repeats in EXPERIMENTS:
        document = {
            "name": name,
            "scene": scene,
            "split": split,
            "models": MODELS,
            "repeats": repeats,
        }
        experiment = parse(document, DATA, title=name)
        metrics = run_experiment(experiment, options.out / name, workers=options.workers)
        for model, result in metrics["models"].items():
            spread = result["spread"] or {}
            errors[f"{name} {model}"] = 1 - result["overall_accuracy"]
            cells = (
                scene["name"],
                name,
                repeats,
                model,
                percent(result["overall_accuracy"], spread.get("overall_accuracy")),
                percent(result["average_accuracy"], spread.get("average_accuracy")),
                f"{result['kappa']:.3f}",
                percent(result["leakage"]["centre_in_window"], None),
                f"{result['train_seconds']:.0f}",
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(f"ratio: {errors['blocks-15-guard-4 cnn'] / errors['random-10 cnn']:.1f}")


if __name__ == "__main__":
    main()
