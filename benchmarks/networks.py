"""What each network reaches under random, fixed and guard-banded splits, and what it costs.

Reads the Indian Pines stand-in from the folder named by HYPERCOVER_DATA; windows
are 9 × 9.  First the time of a window in one pass on one thread, and how long all
trainings that are left would take so: the recipes as published take hours
(``--epochs`` shortens them).  Then each training is one line of a file, so that a
stopped benchmark goes on where it was.  ``--short`` trains a network in few passes
by AdamW and one cycle instead of its own recipe, which is the quickest way to a
good accuracy that we know of: cutting off slow descent would make it look worse
than it is.  The last line is the accuracy per second of training of the
``default`` network over that of the best other one.  Seconds are those of the
processor, all threads added up; on a GPU those of the clock.

    HYPERCOVER_DATA=… python benchmarks/networks.py [--networks default hybridsn]
        [--short lecture=12 ssrn=10] [--epochs ssrn=20] [--seeds 5]
        [--precision mixed] [--out runs/networks.jsonl]
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from data import DATA, check_data

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.networks.network_catalog import build, get_network
from hypercover.scene.io.reading import open_scene
from hypercover.scene.samples import Samples
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.predefined_splits import MaskSplit
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split
from hypercover.windows.windows import Windows

WINDOW = 9
NETWORKS = ["default", "lecture", "hybridsn", "ssrn"]
SITE_3 = "19920612_AVIRIS_IndianPine_Site3_gr.tif"
KEY = ("network", "split", "seed", "epochs", "recipe")
SHORT = {"optimiser": "adamw", "loss": "cross-entropy", "schedule": "one-cycle"}
Cube = npt.NDArray[np.generic]
Labels = npt.NDArray[np.integer[Any]]
Record = dict[str, Any]


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
    kinds: dict[str, RandomSplit | MaskSplit | BlockSplit] = {
        "random 10 %": RandomSplit(train=0.1),
        "fixed 695/9671": MaskSplit(train=masks[0], test=masks[1]),
        "blocks 15, guard 4": BlockSplit(size=15, train=0.25, guard=4),
    }
    for name, kind in kinds.items():
        for seed in range(seeds):
            yield name, seed, kind.split(labels, seed=seed, window=WINDOW)


def windows(cube: Cube, samples: Samples) -> Windows:
    """Cut windows when they are asked for."""
    return Windows(cube, samples.rows, samples.cols, WINDOW)


def accuracy(cube: Cube, model: CNNClassifier, test: Samples) -> float:
    """Share of test pixels predicted rightly, in one dense pass where the network can."""
    if get_network(model.network).spatially_valid:
        margin = model.margin_
        around = np.pad(cube, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
        codes = model.classes_[model.predict_dense(around).argmax(axis=0)]
        return float((codes[test.rows, test.cols] == test.labels).mean())
    right = 0
    for some in np.array_split(np.arange(len(test)), 40):
        near = Windows(cube, test.rows[some], test.cols[some], WINDOW)
        right += int((model.predict(near) == test.labels[some]).sum())
    return right / len(test)


def seconds_per_pass(cube: Cube, train: Samples, name: str) -> float:
    """Time a window's pass through training on one thread, the quicker of two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    some = np.random.default_rng(0).permutation(len(train))[:256]
    near = Windows(cube, train.rows[some], train.cols[some], WINDOW)
    model = CNNClassifier(name, epochs=2, random_state=0, device="cpu")
    model.fit(near, train.labels[some])
    torch.set_num_threads(threads)
    first, both = (record["seconds"] for record in model.history_)
    return float(min(first, both - first)) / len(some)


def trial(
    cube: Cube, labels: Labels, split: Split, wanted: Record, precision: str
) -> Record:
    """Train and judge one network on one split."""
    train, test = (split.samples(part, labels) for part in ("train", "test"))
    short = wanted["recipe"] == "short"
    model = CNNClassifier(
        wanted["network"],
        epochs=wanted["epochs"],
        learning_rate=1e-3 if short else None,
        recipe=SHORT if short else None,
        precision=precision,
        random_state=wanted["seed"],
    )
    gpu = torch.cuda.is_available()
    # Time of the processor, not of the clock: other work beside this must not count.
    clock = time.perf_counter if gpu else time.process_time
    began = clock()
    model.fit(windows(cube, train), train.labels)
    seconds = clock() - began
    weights = sum(weight.numel() for weight in model.network_.parameters())
    return {
        **wanted,
        "windows": len(train),
        "accuracy": accuracy(cube, model, test),
        "seconds": seconds,
        "parameters": weights,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if gpu else "processor",
        "precision": precision,
    }


def finished(path: Path) -> dict[tuple[Any, ...], Record]:
    """Read the trials that are done; a line cut short by a kill is done again."""
    done = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        done[tuple(record[key] for key in KEY)] = record
    return done


def keep(path: Path, record: Record) -> None:
    """Add a trial to the file for good."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as opened:
        # a line of its own, whatever a kill has left of the one before
        opened.write(f"\n{json.dumps(record)}\n")
        opened.flush()
        os.fsync(opened.fileno())


def show_costs(
    cube: Cube, labels: Labels, splits: list[tuple[Split, Record]], some: Samples
) -> None:
    """Print what a window costs each network, and the hours that all trials need."""
    whole = 0.0
    for name in dict.fromkeys(wanted["network"] for _, wanted in splits):
        cost = seconds_per_pass(cube, some, name)
        passes = sum(
            len(split.samples("train", labels)) * wanted["epochs"]
            for split, wanted in splits
            if wanted["network"] == name
        )
        whole += cost * passes
        print(
            f"{name:12} {1000 * cost:7.2f} ms a window and pass on one thread, "
            f"{cost * passes / 3600:6.2f} h for all its trials that are left",
            flush=True,
        )
    print(f"{'together':12} {whole / 3600:.2f} h\n", flush=True)


def show(records: list[Record]) -> dict[str, float]:
    """Print the table; return accuracy per second of training of each network."""
    print(
        f"\n{'network':12} {'split':20} {'seeds':>5} {'passes':>7} {'recipe':>6} {'accuracy %':>12} "
        f"{'seconds':>8} {'parameters':>11} {'% per second':>13}"
    )
    gains: dict[str, list[Record]] = {}
    for name, split in dict.fromkeys((one["network"], one["split"]) for one in records):
        rows = [one for one in records if (one["network"], one["split"]) == (name, split)]
        shares = 100 * np.array([one["accuracy"] for one in rows])
        seconds = np.mean([one["seconds"] for one in rows])
        passes = round(np.mean([one["epochs"] for one in rows]))
        print(
            f"{name:12} {split:20} {len(rows):5} {passes:7} {rows[0]['recipe']:>6} {shares.mean():6.1f} ± "
            f"{shares.std():3.1f} {seconds:8.0f} {rows[0]['parameters']:11,} "
            f"{shares.mean() / seconds:13.3f}"
        )
        gains.setdefault(name, []).extend(rows)
    return {
        name: sum(one["accuracy"] for one in rows) / sum(one["seconds"] for one in rows)
        for name, rows in gains.items()
    }


def passes_of(pairs: list[str]) -> dict[str, int]:
    """Read NAME=N."""
    return {name: int(count) for name, _, count in (pair.partition("=") for pair in pairs)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    parser.add_argument("--epochs", nargs="+", default=[], metavar="NAME=N")
    parser.add_argument("--short", nargs="+", default=[], metavar="NAME=N")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "mixed"), default="float32")
    parser.add_argument("--out", type=Path, default=Path("runs/networks.jsonl"))
    asked = parser.parse_args()
    cut, short = passes_of(asked.epochs), passes_of(asked.short)
    check_data(parser)
    cube, labels = stand_in(DATA)
    print("Indian Pines stand-in (rank 37, not the benchmark image), window 9\n")
    plan = []
    for name in asked.networks:
        build(name, bands=len(cube), classes=2, window=WINDOW)
        for kind, seed, split in splits(DATA, labels, asked.seeds):
            count = len(split.samples("train", labels))
            epochs = (cut | short).get(name, get_network(name).recipe.epochs(count))
            recipe = "short" if name in short else "own"
            values = (name, kind, seed, epochs, recipe)
            plan.append((split, dict(zip(KEY, values, strict=True))))
    done = finished(asked.out)
    left = [(split, wanted) for split, wanted in plan if tuple(wanted.values()) not in done]
    if not torch.cuda.is_available():
        show_costs(cube, labels, left, plan[0][0].samples("train", labels))
    for split, wanted in left:
        record = trial(cube, labels, split, wanted, asked.precision)
        keep(asked.out, record)
        done[tuple(wanted.values())] = record
        print(
            f"{wanted['network']:12} {wanted['split']:20} seed {wanted['seed']}: "
            f"{100 * record['accuracy']:.2f} % in {record['seconds']:.0f} s",
            flush=True,
        )
    gains = show([done[tuple(wanted.values())] for _, wanted in plan])
    best = max((gain for name, gain in gains.items() if name != "default"), default=np.nan)
    print(f"\nratio: {gains.get('default', np.nan) / best:.2f}")


if __name__ == "__main__":
    main()
