"""What pansharpening takes and what it is worth.

Simulates a Quickbird pair (grey image of ``--side`` × ``--side`` pixels of 0.6 m, four
bands of 2.4 m; kept in ``--folder``), sharpens it by the command in a process of its
own, and prints its seconds and its greatest memory.  Then Wald's protocol on a
simulated pair of 1,200 × 1,200 pixels: both images four times coarser, sharpened, and
compared with the bands as they were.  The land is simulated, not Rome.

    python benchmarks/pansharpen.py [--side 8000]

The ratio is that of 2 GiB to the greatest memory.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from hypercover.scene.pansharpen.fusion import wald_quality
from hypercover.scene.simulation.city import quickbird_pair

WATCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Prints the greatest memory (KiB) of a command: a small process, because what starts
another lends it its own figure."""
MAKER = """
import sys
from pathlib import Path
from hypercover.scene.simulation.city import quickbird_pair
from hypercover.scene.io.writing import write_scene
side, folder = int(sys.argv[1]), Path(sys.argv[2])
pair = quickbird_pair(side, side, seed=0)
write_scene(pair.pan, folder / f"pan-{side}.tif")
write_scene(pair.bands, folder / f"bands-{side}.tif")
"""


def sharpened(side: int, folder: Path) -> tuple[float, float]:
    """Sharpen a large pair by the command; return seconds and MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    pan, bands = (folder / f"{name}-{side}.tif" for name in ("pan", "bands"))
    if not bands.exists():
        subprocess.run([sys.executable, "-c", MAKER, str(side), folder], check=True)
    command = Path(sys.executable).with_name("hypercover")
    call = [command, "pansharpen", pan, bands, "-o", folder / "sharp.tif"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, *call],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    (folder / "sharp.tif").unlink()
    return time.perf_counter() - began, int(done.stdout.split()[-1]) / 1024


def quality(side: int) -> None:
    """Print Wald's protocol on a pair of a few hundred thousand pixels."""
    pair = quickbird_pair(side, side, seed=0)
    print("simulated pair        SAM in °  ERGAS in %       Q")
    for row in wald_quality(pair.pan, pair.bands):
        print(f"{row.method:20}{row.sam:10.3f}{row.ergas:12.3f}{row.q:8.4f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8000)
    parser.add_argument("--quality-side", type=int, default=1200)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/hypercover-pansharpen"))
    asked = parser.parse_args()
    seconds, peak = sharpened(asked.side, asked.folder)
    print(
        f"grey image of {asked.side:,} × {asked.side:,} pixels, 4 bands: {seconds:.0f} s, "
        f"{peak:,.0f} MiB at most"
    )
    quality(asked.quality_side)
    print(f"ratio: {2048 / peak:.2f}")


if __name__ == "__main__":
    main()
