"""What a map gains from being made with all labels: right at reference pixels, before and after.

Three scenes: the demo's simulated land, Salinas-A from the folder named by
HYPERCOVER_DATA, and seventeen points of the simulated land.  Of each, some labels are
given to a run and the others, more than eight pixels away from them, are the
reference: no run sees them.  "Before" maps with the model that was tested
(``map_from: split``: a quarter of the labels, less a fifth for validation; of
points, a random quarter), "after" with the same model trained on all labels that were
given (``map_from: all``).  The last line is the mean error after over that before.

    HYPERCOVER_DATA=… python benchmarks/map_from.py [--out runs/map-from] [--network] [--seeds 3]
        [--picture maps.png]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from data import DATA, check_data
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.config.presets import MODELS
from hypercover.experiment.run import run_experiment
from hypercover.scene.io.reading import open_scene
from hypercover.scene.simulation.simulate import simulate
from hypercover.splits.blocks import BlockSplit

BLOCKS = {"kind": "blocks", "size": 12, "train": 0.25, "guard": 8, "validation": 0.2}
SPLITS = {
    "demo scene": BLOCKS,
    "Salinas-A": BLOCKS | {"size": 8, "guard": 4},
    "17 points": {"kind": "random", "train": 0.25},
}
APART = 8
POINTS = 17


def given(labels: np.ndarray, points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Part labels (y, x) into those that are given to a run and the reference."""
    if not points:
        half = BlockSplit(size=24, train=0.5, guard=APART).split(labels, seed=seed)
        train, test = half.mask("train"), half.mask("test")
        return np.where(train, labels, 0), np.where(test, labels, 0)
    rng, some = np.random.default_rng(seed), np.zeros_like(labels)
    codes = np.unique(labels[labels > 0])
    for number in range(points):
        code = codes[number % len(codes)]
        rows, cols = np.nonzero((labels == code) & (some == 0))
        chosen = rng.integers(len(rows))
        some[rows[chosen], cols[chosen]] = code
    return some, np.where(some > 0, 0, labels)


def right(
    name: str,
    image: Path,
    labels: np.ndarray,
    models: dict[str, Any],
    folder: Path,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Return the share of the reference that each model's map has right, before and after."""
    some, reference = given(labels, POINTS if name == "17 points" else 0, seed)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "given.npy", some.astype(np.uint8))
    found: dict[str, list[float]] = {model: [] for model in models}
    for source in ("split", "all"):
        document = {
            "name": f"map-from-{source}",
            "seed": seed,
            "scene": {"path": str(image), "labels": str(folder / "given.npy")},
            "split": SPLITS[name],
            "models": models,
            "map_from": source,
        }
        run_experiment(parse(document, folder), folder / source, workers=1)
        for model in models:
            with rasterio.open(folder / source / "maps" / f"{model}.tif") as file:
                answers = file.read(1)
            at = reference > 0
            found[model].append(float(np.mean(answers[at] == reference[at])))
    return {model: (shares[0], shares[1]) for model, shares in found.items()}


def draw(shown: dict[str, tuple[np.ndarray, Path]], target: Path) -> None:
    """Draw the labels that were given and the first seed's SVM maps before and after."""
    figure = Figure(figsize=(9, 3 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 4, squeeze=False)
    for row, (name, (labels, folder)) in zip(axes, shown.items(), strict=True):
        maps = {"all known labels": labels, "labels given": np.load(folder / "given.npy")}
        for source, title in (("split", "before"), ("all", "after")):
            with rasterio.open(folder / source / "maps" / "svm.tif") as file:
                maps[title], table = file.read(1), file.colormap(1)
        colors = [np.array(table.get(code, (0, 0, 0))[:3]) / 255 for code in range(256)]
        colors[0] = np.ones(3)
        for axis, (title, codes) in zip(row, maps.items(), strict=True):
            axis.imshow(
                codes, ListedColormap(colors), vmin=0, vmax=255, interpolation="nearest"
            )
            axis.set(title=title, xticks=[], yticks=[])
        row[0].set_ylabel(name)
    figure.savefig(target, dpi=110)


def main() -> None:
    """Map each scene twice with each model and seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/map-from"))
    parser.add_argument("--network", action="store_true", help="the default CNN as well")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--picture", type=Path, help="draw the SVM's maps of the first seed"
    )
    asked = parser.parse_args()
    check_data(parser)
    models = {name: MODELS[name] for name in ("svm", "forest")}
    if asked.network:
        models |= {"cnn": MODELS["cnn"]}
    land = asked.out / "simulated.tif"
    if not land.exists():
        simulate(land, preset="demo", seed=0)
    simulated = open_scene(land, land.with_name("simulated-labels.tif"))
    salinas = open_scene(
        DATA / "salinas_a/SalinasA_corrected.mat", DATA / "salinas_a/SalinasA_gt.mat"
    )
    scenes = {
        "demo scene": (land, simulated.usable_labels),
        "Salinas-A": (DATA / "salinas_a/SalinasA_corrected.mat", salinas.usable_labels),
        "17 points": (land, simulated.usable_labels),
    }
    print("| scene | model | before, % right | after, % right |")
    print("|---|---|---|---|")
    errors = []
    for name, (image, labels) in scenes.items():
        folder = asked.out / name.replace(" ", "-")
        found = [
            right(name, image, labels, models, folder / str(seed), seed)
            for seed in range(asked.seeds)
        ]
        for model in models:
            before, after = np.mean([one[model] for one in found], axis=0)
            errors.append((1 - before, 1 - after))
            print(
                f"| {name} | {model} | {100 * before:.1f} | {100 * after:.1f} |", flush=True
            )
    if asked.picture:
        folders = {name: asked.out / name.replace(" ", "-") / "0" for name in scenes}
        draw({name: (scenes[name][1], folders[name]) for name in scenes}, asked.picture)
    before, after = np.mean(errors, axis=0)
    print(f"ratio: {after / before:.2f}")


if __name__ == "__main__":
    main()
