"""Time, size and memory of writing all labelled windows of a scene as one HDF5 file.

The scene is simulated, of 614 columns and 220 bands, with as many labelled pixels
as the full Indian Pines scene: 334,245 windows of 9 × 9, 12 GiB before compression.
``--share`` takes a part of its rows and labels.  The command runs in a process of
its own, whose peak memory is told.  The last line is how many times that peak goes
into 1 GiB, which it is to stay under.

    python benchmarks/windows.py [--share 0.05] [--folder where there is room]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio

COUNT, ROWS, COLS, BANDS, SIZE = 334_245, 1300, 614, 220, 9
BOUND = 2**30
# What getrusage says of a process counts the program that started it as well.
PROGRAM = r"""
import re, sys
from pathlib import Path
from hypercover.cli.main import main
told = Path(sys.argv.pop(1))
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    told.write_text(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
"""


def command(*words: object) -> tuple[float, int]:
    """Run hypercover; return the seconds it took and the bytes it held at its peak."""
    with tempfile.NamedTemporaryFile("r") as peak:
        call = [sys.executable, "-c", PROGRAM, peak.name, *map(str, words)]
        began = time.perf_counter()
        subprocess.run(call, check=True)
        return time.perf_counter() - began, 1024 * int(peak.read())


def simulated(folder: Path, share: float, bands: int = BANDS) -> tuple[Path, Path]:
    """Write a scene; return its image and its labels."""
    image, rows = folder / "scene.tif", max(64, round(ROWS * share))
    command("simulate", image, "--rows", rows, "--cols", COLS, "--bands", bands)
    return image, folder / "scene-labels.tif"


def thin(labels: Path, count: int) -> None:
    """Leave so many labelled pixels, drawn at random."""
    with rasterio.open(labels, "r+") as file:
        codes = file.read(1)
        labelled = np.flatnonzero(codes)
        if len(labelled) < count:
            sys.exit(f"{len(labelled):,} pixels are labelled, {count:,} are wanted")
        chance = np.random.default_rng(0)
        drop = chance.permutation(labelled)[count:]
        codes.flat[drop] = 0
        file.write(codes, 1)


def main() -> None:
    """Write the windows and say what they cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="part of the scene")
    parser.add_argument("--folder", type=Path, help="where scene and file may lie")
    asked = parser.parse_args()
    count = max(1, round(COUNT * asked.share))
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        image, labels = simulated(Path(name), asked.share)
        thin(labels, count)
        out = Path(name) / "W.h5"
        seconds, peak = command("windows", image, "-l", labels, "--size", SIZE, "-o", out)
        size = out.stat().st_size
    print(f"{count:,} windows of {SIZE} × {SIZE} × {BANDS}: {seconds:.1f} s")
    print(
        f"Bytes: {2 * count * SIZE**2 * BANDS:,} before compression, {size:,} on the disk"
    )
    print(f"Peak memory: {peak / 2**20:,.0f} MiB")
    print(f"ratio: {BOUND / peak:.2f}")


if __name__ == "__main__":
    main()
