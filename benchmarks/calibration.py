"""How sure a model is against how right, with and without the temperature asked for.

Reads the stand-in for Indian Pines, or Salinas-A, in the folder named by HYPERCOVER_DATA
and runs hypercover's own experiment on it: guarded blocks, and random pixels beside them.
SVMs and forests find their temperature on training pixels that are held out in turn, the
network on validation pixels taken in the same manner as the split.  Stopped, it goes on
where it was.  With the network the last line is its calibration error before the
temperature over that under it, on the test pixels of the guarded blocks, in the mean over
the seeds: below 1 it harms.

    HYPERCOVER_DATA=… python benchmarks/calibration.py [--out runs/calibration] [--repeats 3]
    HYPERCOVER_DATA=… python benchmarks/calibration.py --scene salinas-a --models svm,forest
"""

import argparse
from pathlib import Path
from typing import Any

from data import DATA, check_data

from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.run import run_experiment

SCENES: dict[str, dict[str, Any]] = {
    "stand-in": {
        "scene": {
            "path": "derived/indian_pines_rank37_reconstruction.npz",
            "labels": "indian_pines/19920612_AVIRIS_IndianPine_Site3_gr.tif",
            "axes": "row,col,band",
            "name": "Indian Pines stand-in",
        },
        "split": {"kind": "blocks", "size": 15, "train": 0.25, "guard": 4},
    },
    "salinas-a": {
        "scene": {
            "path": "salinas_a/SalinasA_corrected.mat",
            "labels": "salinas_a/SalinasA_gt.mat",
        },
        "split": {"kind": "blocks", "size": 8, "train": 0.25, "guard": 2},
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "cnn": {"kind": "cnn", "network": "default", "window": 9},
    "svm": {"kind": "svm"},
    "platt": {"kind": "svm", "probability": True},
    "forest": {
        "kind": "sklearn",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
    },
}


def percent(*values: float) -> str:
    """Write shares as cells in percent."""
    return " | ".join(f"{100 * value:.1f}" for value in values)


def own_error(found: dict[str, Any]) -> float:
    """Return the calibration error of a model's own confidence."""
    before = found["error_before"]
    return float(found["error"] if before is None else before)


def rows(split: str, model: str, figures: dict[str, Any]) -> list[str]:
    """Write a line for each seed and one for their mean."""
    found = figures["calibration"]
    accuracy = {row["seed"]: row["overall_accuracy"] for row in figures["repeats"]}
    every = [
        (str(row["seed"]), accuracy[row["seed"]], row) for row in found.get("repeats", ())
    ]
    every += [("mean", figures["overall_accuracy"], found)]
    return [
        f"| {split} | {model} | {seed} | {percent(right)} | {row['patches']} | "
        f"{row['proposed']:.2f} | {'no' if row['temperature'] is None else 'yes'} | "
        f"{percent(own_error(row), row['error_proposed'])} |"
        for seed, right, row in every
    ]


def main() -> None:
    """Run the experiment and print what the temperatures were worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scene", choices=SCENES, default="stand-in")
    parser.add_argument("--models", default="cnn,svm,platt,forest")
    options = parser.parse_args()
    check_data(parser)
    models = {name: MODELS[name] for name in options.models.split(",")}
    document = SCENES[options.scene] | {
        "name": "calibration",
        "seed": options.seed,
        "repeats": options.repeats,
        "models": models,
        "map": False,
    }
    # Only the network needs validation pixels.
    share = {"validation": 0.2 if "cnn" in models else 0.0}
    document["split"] = document["split"] | share
    document["beside"] = {"random": {"kind": "random", "train": 0.1, **share}}
    experiment = parse(document, DATA, title="calibration")
    metrics = run_experiment(experiment, options.out, workers=options.workers)
    print("| split | model | seed | accuracy | patches | T | used | own error | under T |")
    print("|---|---|---|---|---|---|---|---|---|")
    parts = {
        "guarded blocks": metrics["models"],
        **{name: part["models"] for name, part in metrics["beside"].items()},
    }
    for split, models in parts.items():
        for name, figures in models.items():
            print(*rows(split, name, figures), sep="\n")
    if "cnn" not in models:
        return
    for split, models in parts.items():
        curve = {
            row["kept"]: row["accuracy"]
            for row in models["cnn"]["calibration"]["abstention"]
        }
        kept = ", ".join(
            f"{100 * share:.0f} %: {percent(curve[share])}"
            for share in (1.0, 0.75, 0.5, 0.25)
        )
        print(f"Accuracy of the CNN on the surest pixels under {split}: {kept}")
    guarded = metrics["models"]["cnn"]["calibration"]
    print(f"ratio: {own_error(guarded) / guarded['error_proposed']:.2f}")


if __name__ == "__main__":
    main()
