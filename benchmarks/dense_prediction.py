"""What one dense pass over tiles saves, and what a whole flight line takes.

First the network of the lecture (9 × 9 windows, 200 bands, 16 classes, random
weights: they cost the same as trained ones) on the Indian Pines stand-in where
the folder named by HYPERCOVER_DATA is known, on noise otherwise: all pixels as
the maps are made, tile by tile, against the network's own forward pass on
windows in batches of 256.  The window side is timed on a sample of whole
batches, their cutting and scaling included, and its seconds are multiplied to
all pixels.  Both sides run in turn, in this process, with all cores; seconds
are the best of the runs.  Their probabilities are compared on the sample.

Then ``--line`` simulates a flight line of 1417 × 617 pixels × 200 bands (kept
in ``--folder``) and predicts it with the ``default`` network by the command, in
a process of its own, and prints its seconds and its greatest memory.

    HYPERCOVER_DATA=… python benchmarks/dense_prediction.py [--runs 3] [--line]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt
import torch

from hypercover.classifiers.bundle import save_bundle
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.scene.io.reading import open_scene
from hypercover.windows.windows import Windows

BANDS, CLASSES, WINDOW, BATCH = 200, 16, 9, 256
ROWS, COLS = 1417, 617
MEMORY = "2GiB"
WATCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Prints the greatest memory (KiB) of a command: a small process, because what starts
another lends it its own figure."""
Cube = npt.NDArray[np.generic]


def small_scene() -> tuple[str, Cube]:
    """Return the stand-in, or noise of its size, as (band, row, col)."""
    data = os.environ.get("HYPERCOVER_DATA")
    if data is None:
        noise = np.random.default_rng(0).normal(size=(BANDS, 145, 145))
        return "noise", noise.astype(np.float32)
    with np.load(Path(data) / "derived/indian_pines_rank37_reconstruction.npz") as file:
        return "Indian Pines stand-in", np.ascontiguousarray(
            file["cube"].transpose(2, 0, 1)
        )


def fitted(network: str, cube: Cube, seed: int = 0) -> CNNClassifier:
    """Return a network after one pass over few windows of a scene, two of each class."""
    random = np.random.default_rng(seed)
    rows, cols = (random.integers(0, size, 2 * CLASSES) for size in cube.shape[1:])
    codes = np.tile(np.arange(1, CLASSES + 1), 2)
    model = CNNClassifier(network, epochs=1, batch_size=16, random_state=seed)
    return model.fit(Windows(cube, rows, cols, WINDOW), codes)


def by_window(model: CNNClassifier, windows: Windows) -> npt.NDArray[np.float32]:
    """Return probabilities (n, class) by the network's own forward pass on batches."""
    found = []
    with torch.inference_mode():
        for first in range(0, len(windows), BATCH):
            batch = windows[first : first + BATCH].cut()
            scores = model.network_(model.scaling_.apply(batch))[:, :, 0, 0]
            found.append(scores.softmax(1).numpy())
    return np.concatenate(found)


def compare(runs: int, batches: int) -> float:
    """Time both sides in turn and return how many times faster the dense one is."""
    name, cube = small_scene()
    model, margin = fitted("lecture", cube), WINDOW // 2
    model.network_.eval()
    around = np.pad(cube, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    pixels = cube.shape[1] * cube.shape[2]
    sample = np.random.default_rng(1).choice(pixels, batches * BATCH, replace=False)
    rows, cols = np.divmod(np.sort(sample), cube.shape[2])
    windows = Windows(cube, rows, cols, WINDOW)
    model.predict_dense(around[:, :72, :72])
    by_window(model, windows[:BATCH])
    dense_side, window_side = [], []
    for _ in range(runs):
        began = time.perf_counter()
        dense = model.predict_dense(around)
        dense_side.append(time.perf_counter() - began)
        began = time.perf_counter()
        plain = by_window(model, windows)
        window_side.append((time.perf_counter() - began) * pixels / len(windows))
    apart = np.abs(dense[:, rows, cols].T - plain)
    other = int((dense[:, rows, cols].argmax(axis=0) != plain.argmax(axis=1)).sum())
    print(
        f"{name}, lecture network, {torch.get_num_threads()} threads, {pixels:,} pixels\n"
        f"dense           {min(dense_side):8.1f} s\n"
        f"window by window{min(window_side):8.1f} s, from {len(windows):,} pixels in "
        f"batches of {BATCH}\n"
        f"greatest difference {apart.max():.1e}, other labels {other} of {len(windows):,}"
    )
    return min(window_side) / min(dense_side)


def flight_line(folder: Path) -> None:
    """Predict a simulated flight line by the command; print its seconds and its memory."""
    command = Path(sys.executable).with_name("hypercover")
    line, model = folder / "line.tif", folder / "default"
    if not line.exists():
        size = ["--rows", str(ROWS), "--cols", str(COLS), "--bands", str(BANDS)]
        subprocess.run([command, "simulate", line, *size], check=True)
    scene = open_scene(line, labels=False)
    cube = scene.read(slice(0, 200), slice(0, 200))
    legend = [
        {"code": code, "name": f"Class {code}", "color": f"#{code:06x}"}
        for code in range(1, CLASSES + 1)
    ]
    card = {
        "bands": scene.bands.tolist(),
        "wavelengths": None if scene.wavelengths is None else scene.wavelengths.tolist(),
        "legend": legend,
        "window": WINDOW,
    }
    save_bundle(model, fitted("default", cube), card)
    out = ["--out", folder / "map.tif", "--confidence", folder / "sure.tif"]
    call = [command, "predict", model, line, *out, "--memory", MEMORY]
    measured = [sys.executable, "-c", WATCHER, *call]
    began = time.perf_counter()
    told = subprocess.run(measured, check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = time.perf_counter() - began, int(told.stdout.split()[-1]) / 2**20
    print(
        f"flight line of {ROWS} × {COLS} × {BANDS}, default network: {seconds:.0f} s, "
        f"{peak:.2f} GiB at most, allowed {MEMORY}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--line", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/hypercover-dense"))
    asked = parser.parse_args()
    ratio = compare(asked.runs, asked.batches)
    if asked.line:
        asked.folder.mkdir(parents=True, exist_ok=True)
        flight_line(asked.folder)
    print(f"ratio: {ratio:.1f}")


if __name__ == "__main__":
    main()
