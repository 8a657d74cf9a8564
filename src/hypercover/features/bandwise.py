"""Work on the bands of a scene side by side, as many at once as memory allows."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.features.stack import check_range
from hypercover.scene.memory import available_bytes
from hypercover.scene.scene import Scene

__all__ = ["bands_at_once", "each_band"]

Floats = npt.NDArray[np.float64]
Result = TypeVar("Result")

_SHARE = 0.8
"""Share of the available memory that bands may take together."""


def each_band(
    scene: Scene, work: Callable[[int, Floats], Result], at_once: int
) -> list[Result]:
    """Return what a function makes of each band, in threads.

    Why it exists: the trees of a band are built outside Python's lock, so
    threads use all cores without copying the scene.

    Parameters
    ----------
    work : callable
        Takes the position of a band, from 0, and its values (row, col) in float64.
    at_once : int
        How many bands are worked on at the same time.
    """
    reading = Lock()

    def one(position: int) -> Result:
        # Files are not read from several threads at once.
        with reading:
            values = np.asarray(scene.cube.isel(band=position).values, dtype=np.float64)
        check_range(values[scene.valid], scene)
        return work(position, values)

    if at_once == 1:
        return [one(position) for position in range(scene.n_bands)]
    with ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(one, position) for position in range(scene.n_bands)]
        try:
            return [future.result() for future in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def bands_at_once(scene: Scene, per_pixel: int, asked: int | None = None) -> int:
    """Say how many bands to work on at the same time.

    Parameters
    ----------
    per_pixel : int
        Bytes that the work on one band takes for each pixel.
    asked : int, optional
        How many are asked for; unless given, one per core.  A run that pins its
        threads (``OMP_NUM_THREADS``) is heeded.

    Raises
    ------
    SceneError
        If even one band does not fit in memory.
    """
    rows, cols = scene.shape
    needed, free = per_pixel * (rows + 2) * (cols + 2), available_bytes()
    fitting = int(_SHARE * free // needed)
    if fitting < 1:
        raise SceneError(
            f"The shapes of one band of {scene.name} ({rows} × {cols} pixels) need about "
            f"{needed / 2**30:,.1f} GiB of memory and {free / 2**30:,.1f} GiB are free; cut "
            "the image smaller or use a larger machine."
        )
    return max(1, min(asked or _cores(), fitting, scene.n_bands))


def _cores() -> int:
    """Count the threads this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    pinned = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(pinned)) if pinned.isdecimal() and int(pinned) else cores
