"""What one tree per band saves an attribute profile of many thresholds.

An ESDAP of 1000 × 1000 pixels, 4 smooth bands with noise, 10 thresholds of area and 10
of standard deviation each: with one tree per band, as ``AttributeProfiles`` does it, and in the
form that builds a tree for every threshold, timed on a stated part of the thresholds
and scaled to all.  Both run on the same cores, and both images are compared.  The last
line is the ratio of their seconds.

    python benchmarks/profiles.py [--size 1000] [--bands 4] [--part 2] [--jobs N]
"""

import argparse
import resource
import time

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter

from hypercover.features.profiles import AttributeProfiles
from hypercover.scene.scene import Scene

Stack = npt.NDArray[np.float32]
Seconds = npt.NDArray[np.float64]
THRESHOLDS: dict[str, list[float]] = {
    "area": [50 * step for step in range(1, 11)],
    "std": [0.025 * step for step in range(1, 11)],
}


def simulated(size: int, bands: int) -> Scene:
    """Make bands as components of a real image are: all values differ."""
    rng = np.random.default_rng(0)
    cube = np.empty((bands, size, size), dtype=np.float32)
    for band in cube:
        smooth = gaussian_filter(rng.normal(size=(size, size)), 3)
        band[:] = smooth / smooth.std() + 0.3 * rng.normal(size=(size, size))
    return Scene(xr.DataArray(cube, dims=("band", "y", "x")), name="simulated")


def timed(
    scene: Scene, thresholds: dict[str, list[float]], jobs: int | None
) -> tuple[Seconds, Stack]:
    """Make the profiles; return seconds by the clock and of all processors, and features."""
    began = np.array([time.perf_counter(), time.process_time()])
    profiles = AttributeProfiles(list(thresholds), thresholds, n_jobs=jobs).fit(scene)
    values: Stack = profiles.transform(scene).cube.values
    return np.array([time.perf_counter(), time.process_time()]) - began, values


def one_by_one(
    scene: Scene, wanted: list[tuple[str, int]], jobs: int | None, together: Stack
) -> Seconds:
    """Build a tree for each threshold and band; check the images and return the seconds."""
    each = len(together) // scene.n_bands
    total = np.zeros(2)
    for name, place in wanted:
        seconds, values = timed(scene, {name: [THRESHOLDS[name][place]]}, jobs)
        total += seconds
        at = 1 + place + (len(THRESHOLDS["area"]) if name == "std" else 0)
        np.testing.assert_array_equal(values[1::2], together[at::each])
    return total


def peak() -> float:
    """Return the most memory this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--part", type=int, default=2, help="thresholds timed one by one")
    parser.add_argument("--jobs", type=int, default=None, help="bands at once")
    asked = parser.parse_args()
    scene = simulated(asked.size, asked.bands)
    every = [(name, place) for name, own in THRESHOLDS.items() for place in range(len(own))]
    some = every[:: max(1, len(every) // asked.part)][: asked.part]
    held = peak()
    together, stack = timed(scene, THRESHOLDS, asked.jobs)
    print(
        f"{asked.bands} bands of {asked.size} × {asked.size}, {len(every)} filters each: "
        f"{len(stack)} features"
    )
    print(
        f"one tree per band: {together[0]:.1f} s ({together[1]:.1f} s of processors), {peak() - held:.2f} GiB above the scene, "
        f"{stack.nbytes / 2**30:.2f} GiB of which are the features",
        flush=True,
    )
    part = one_by_one(scene, some, asked.jobs, stack)
    alone = part * len(every) / len(some)
    listed = ", ".join(f"{name} < {THRESHOLDS[name][place]:g}" for name, place in some)
    print(
        f"one tree per threshold: {part[0]:.1f} s ({part[1]:.1f} s of processors) for {len(some)} of {len(every)} thresholds "
        f"({listed}), so {alone[0]:.0f} s ({alone[1]:.0f} s) for all; same images"
    )
    print(f"ratio of the seconds of processors: {alone[1] / together[1]:.1f}")
    print(f"ratio: {alone[0] / together[0]:.1f}")


if __name__ == "__main__":
    main()
