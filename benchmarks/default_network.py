"""What the networks cost and reach, and what one dense pass saves.

Reads the Indian Pines stand-in from the folder named by HYPERCOVER_DATA.  First
the accuracy and the training time of the ``default`` network under random,
fixed and guard-banded splits; then, for both networks, the time of a training
window, of the whole training their recipes ask for on the fixed split, and of a
scene predicted window by window and in one pass.  ``--lecture-epochs`` trains
the lecture's network so long on the fixed split as well (its recipe's 600 take
hours without a GPU).  The last line is the ratio of the default network's
seconds window by window to those of one dense pass.

    HYPERCOVER_DATA=… python benchmarks/default_network.py [--seeds 5] [--lecture-epochs 0]
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.cnn import CNNClassifier
from hypercover.classifiers.networks.catalog import NETWORKS
from hypercover.samples.blocks import BlockSplit
from hypercover.samples.masks import MaskSplit
from hypercover.samples.random import RandomSplit
from hypercover.samples.samples import Samples
from hypercover.samples.split import Split
from hypercover.samples.windows import Windows
from hypercover.scene.reading import open_scene

WINDOW = 9
SITE_3 = "19920612_AVIRIS_IndianPine_Site3_gr.tif"
Cube = npt.NDArray[np.generic]
Labels = npt.NDArray[np.integer]


def stand_in(data: Path) -> tuple[Cube, Labels]:
    """Read the stand-in cube (band, row, col) and its labels."""
    with np.load(data / "derived/indian_pines_rank37_reconstruction.npz") as file:
        cube = np.ascontiguousarray(file["cube"].transpose(2, 0, 1))
    return cube, raster(data, SITE_3)


def raster(data: Path, name: str) -> Labels:
    """Read a label map."""
    values: Labels = np.asarray(open_scene(data / "indian_pines" / name).cube.values[0])
    return values


def splits(data: Path, labels: Labels, seeds: int) -> Iterator[tuple[str, int, Split]]:
    """Name and make every split of every seed."""
    masks = [raster(data, f"Indian{part}123_temp123.tif") for part in ("TR", "TE")]
    kinds = {
        "random 10 %": RandomSplit(train=0.1),
        "fixed 695/9671": MaskSplit(train=masks[0], test=masks[1]),
        "blocks 15, guard 4": BlockSplit(size=15, train=0.25, guard=4),
    }
    for name, kind in kinds.items():
        for seed in range(seeds):
            yield name, seed, kind.split(labels, seed=seed, window=WINDOW)


def trained(cube: Cube, train: Samples, network: CNNClassifier) -> tuple[float, float]:
    """Train a network; return its seconds by the clock and of all processors."""
    clock, processors = time.perf_counter(), time.process_time()
    network.fit(Windows(cube, train.rows, train.cols, WINDOW), train.labels)
    return time.perf_counter() - clock, time.process_time() - processors


def dense(cube: Cube, network: CNNClassifier) -> npt.NDArray[np.float32]:
    """Predict the whole scene in one pass."""
    margin = network.margin_
    around = np.pad(cube, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    return network.predict_dense(around)


def accuracy(cube: Cube, network: CNNClassifier, test: Samples) -> float:
    """Share of test pixels predicted rightly."""
    codes = network.classes_[dense(cube, network).argmax(axis=0)]
    return float((codes[test.rows, test.cols] == test.labels).mean())


def show_default(data: Path, cube: Cube, labels: Labels, seeds: int) -> None:
    """Print accuracy and training time of the default network for every split."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for name, seed, split in splits(data, labels, seeds):
        network = CNNClassifier(random_state=seed)
        seconds = trained(cube, split.samples("train", labels), network)
        share = accuracy(cube, network, split.samples("test", labels))
        found.setdefault(name, []).append((share, *seconds))
        print(
            f"{name:20} seed {seed}: {100 * share:.2f} % in {seconds[0]:.0f} s", flush=True
        )
    print(f"\n{'default network':20} {'accuracy':>14} {'seconds':>8} {'of processors':>14}")
    for name, rows in found.items():
        shares, clock, processors = np.array(rows).T
        percent = f"{100 * shares.mean():.1f} ± {100 * shares.std():.1f} %"
        print(f"{name:20} {percent:>14} {clock.mean():8.0f} {processors.mean():14.0f}")


def show_networks(cube: Cube, train: Samples) -> float:
    """Print what both networks cost; return windows over dense of the default one."""
    around = [place.ravel() for place in np.mgrid[:64, :64]]
    ratio = 0.0
    for name, kind in NETWORKS.items():
        network = CNNClassifier(name, epochs=1, random_state=0)
        trained(cube, train, network)
        per_window = network.history_[0]["seconds"] / len(train)
        whole = per_window * len(train) * kind.recipe.epochs(len(train))
        began = time.perf_counter()
        some = Windows(cube, around[0][::8], around[1][::8], WINDOW)
        network.predict_proba(some)
        by_window = 8 * (time.perf_counter() - began)
        began = time.perf_counter()
        network.predict_dense(cube[:, :72, :72])
        in_one = time.perf_counter() - began
        print(
            f"{name}: {1000 * per_window:.2f} ms a training window, {whole:.0f} s its "
            f"whole training; 64 × 64 pixels {by_window:.2f} s by window, {in_one:.2f} s "
            "in one pass"
        )
        if name == "default":
            ratio = by_window / in_one
    return ratio


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lecture-epochs", type=int, default=0)
    asked = parser.parse_args()
    data = Path(os.environ["HYPERCOVER_DATA"])
    cube, labels = stand_in(data)
    print("Indian Pines stand-in (rank 37, not the benchmark image), window 9\n")
    show_default(data, cube, labels, asked.seeds)
    masks = raster(data, "IndianTR123_temp123.tif")
    fixed = MaskSplit(train=masks).split(labels, window=WINDOW)
    train = fixed.samples("train", labels)
    if asked.lecture_epochs:
        lecture = CNNClassifier("lecture", epochs=asked.lecture_epochs, random_state=0)
        clock, _ = trained(cube, train, lecture)
        share = accuracy(cube, lecture, fixed.samples("test", labels))
        print(
            f"lecture, fixed, {asked.lecture_epochs} epochs: {share:.4f} in {clock:.0f} s"
        )
    print(f"\nratio: {show_networks(cube, train):.1f}")


if __name__ == "__main__":
    main()
