"""Time and memory of the tree of shapes of one band, beside those of higra.

Each side builds the tree of the same band, as large as the flight line of Indian Pines
unless told otherwise, and sums the pixels of every shape, in processes of their own.

    python benchmarks/shapes.py [--size 1417x617] [--runs 5]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter


def band(rows: int, cols: int) -> np.ndarray:
    """Make a band of smooth land and some noise, of as many levels as pixels."""
    chance = np.random.default_rng(0)
    land = gaussian_filter(chance.standard_normal((rows, cols)), 3)
    return land + 0.05 * chance.standard_normal((rows, cols))


def ours(grey: np.ndarray) -> int:
    """Build the tree; return how many shapes it has."""
    from hypercover.features.tree_of_shapes import ShapeTree

    shapes = ShapeTree.of(grey)
    return len(shapes.sums(shapes.counts))


def theirs(grey: np.ndarray) -> int:
    """Build it with higra."""
    import higra as hg

    ringed = np.pad(grey, 1, constant_values=np.median(grey))
    tree, _ = hg.component_tree_tree_of_shapes_image2d(ringed, padding="none")
    area = hg.accumulate_sequential(tree, np.ones(ringed.size), hg.Accumulators.sum)
    return len(area) - tree.num_leaves()


SIDES = {"hypercover": ours, "higra": theirs}


def held(field: str) -> float:
    """Return what this process holds, or held at most, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure(side: str, rows: int, cols: int) -> dict[str, float]:
    """Return seconds and bytes a pixel of one side, once it is loaded and compiled."""
    build, grey = SIDES[side], band(rows, cols)
    build(grey[:20, :20].copy())
    Path("/proc/self/clear_refs").write_text("5")
    before, start = held("VmRSS"), time.perf_counter()
    shapes = build(grey)
    seconds = time.perf_counter() - start
    taken = (held("VmHWM") - before) * 2**20 / grey.size
    return {"seconds": seconds, "bytes": taken, "shapes": shapes}


def main() -> None:
    """Measure both sides in turns and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1417x617")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    rows, cols = map(int, asked.size.split("x"))
    if asked.side:
        print(json.dumps(measure(asked.side, rows, cols)))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(asked.runs):
        for side, runs in found.items():
            call = [sys.executable, __file__, "--side", side, "--size", asked.size]
            done = subprocess.run(call, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout))
    print(f"The tree of shapes of {asked.size} pixels, medians of {asked.runs} runs")
    times = {}
    for side, runs in found.items():
        times[side] = statistics.median(run["seconds"] for run in runs)
        taken = statistics.median(run["bytes"] for run in runs)
        shapes = f"{runs[0]['shapes']:,}"
        print(f"{side:12}{times[side]:8.2f} s{taken:8.0f} bytes a pixel{shapes:>12} shapes")
    print(f"ratio: {times['higra'] / times['hypercover']:.2f}")


if __name__ == "__main__":
    main()
