"""The interface of image features, which map a scene to a scene without using labels."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
import xarray as xr
from pydantic import BaseModel, Field, ValidationError

from hypercover.errors import ModelError, SceneError, first_fault
from hypercover.memory import available_bytes, check_memory
from hypercover.scene.grid import with_grid
from hypercover.scene.metadata import acquisition_header, with_header
from hypercover.scene.scene import Scene, check_magnitude
from hypercover.types import Arrays, Floats, Progress, Singles

Settings = dict[str, Any]
"""JSON-able values by name."""


_PROGRESS_UNITS = 1000
"""Units of progress reported for each part."""


def subprogress(progress: Progress | None, place: int, parts: int) -> Progress | None:
    """Return the progress callback for one of several equal parts."""
    if progress is None:
        return None

    def report(done: int, total: int) -> None:
        share = done / total if total else 1.0
        progress(int(_PROGRESS_UNITS * (place + share)), _PROGRESS_UNITS * parts)

    return report


class Feature(ABC):
    """Base class of image features.

    Image features work on scenes, not on arrays (n, band): they are not
    scikit-learn transformers.  They are fitted on all valid pixels and never see a
    label, so they may be fitted before the scene is split.
    """

    reach: ClassVar[int | None] = 0
    """Radius in pixels of the neighbourhood a value depends on; None = unbounded."""

    @abstractmethod
    def outputs(self, bands: int) -> int:
        """Return the largest number of features computed from a number of bands."""

    @abstractmethod
    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Fit to all valid pixels; slow features report *progress*."""

    @abstractmethod
    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return a scene whose bands are the features, in float32."""

    def surrounded_by(self, levels: Sequence[float]) -> Self:
        """Return the feature with a given level around each band, if it depends on one."""
        return self

    @abstractmethod
    def state(self) -> tuple[Settings, Arrays]:
        """Return the fitted feature as JSON-able settings and arrays."""

    @classmethod
    @abstractmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Restore a fitted feature from its `state`.

        Raises
        ------
        ModelError
            If the state is incomplete or inconsistent.
        """


Count = Annotated[int, Field(strict=True, ge=1, le=2**20)]
"""A number of components, pixels or thresholds."""

PositiveFloat = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class SavedSettings(BaseModel):
    """Settings of a saved feature, which may come from anyone."""

    @classmethod
    def read(cls, settings: Settings) -> Self:
        """Check settings.

        Raises
        ------
        ModelError
            If one is missing or out of range.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise ModelError(
                f"The settings of a saved feature are not readable ({first_fault(error)}); train "
                "the model again."
            ) from error


def saved_array(arrays: Arrays, name: str, *shape: int | None) -> Floats:
    """Return an array of a saved feature after checking it; None allows any size above 0.

    Raises
    ------
    ModelError
        If it is missing, of another shape or type, or not finite.
    """
    array = arrays.get(name)
    if array is None:
        raise ModelError(f"The saved feature has no array {name!r}; train the model again.")
    matches = array.ndim == len(shape) and all(
        size > 0 and expected in (None, size)
        for size, expected in zip(array.shape, shape, strict=True)
    )
    if not matches or array.dtype != np.float64 or not np.isfinite(array).all():
        expected = " × ".join("n" if size is None else str(size) for size in shape)
        raise ModelError(
            f"The array {name!r} of a saved feature must hold {expected} finite float64 "
            f"values, got {array.dtype} of shape {array.shape}; train the model again."
        )
    return array.astype(np.float64, order="C")


def check_range(values: Floats, scene: Scene) -> None:
    """Check that values of valid pixels are small enough to compute with.

    Raises
    ------
    SceneError
        If one is too large, usually an undeclared fill value.
    """
    check_magnitude(float(np.abs(values).max(initial=0.0)), scene.name)


def check_stack_memory(scene: Scene, count: int) -> None:
    """Check that a stack of features fits in memory.

    Raises
    ------
    SceneError
        If it does not.
    """
    rows, cols = scene.shape
    check_memory(
        4 * count * rows * cols,
        f"A stack of {count} features of the image {scene.name}, which is computed whole,",
        "ask for fewer features, cut the image smaller, or use a larger machine",
    )


def empty_stack(scene: Scene, count: int) -> Singles:
    """Return a stack (feature, y, x) of NaN.

    Raises
    ------
    SceneError
        If it does not fit in memory.
    """
    check_stack_memory(scene, count)
    return np.full((count, *scene.shape), np.nan, dtype=np.float32)


def feature_scene(
    scene: Scene, values: Singles | xr.Variable, names: Sequence[str]
) -> Scene:
    """Return the scene with its bands replaced by features (feature, y, x).

    Grid, labels, legend, name, sensor, time and notes are kept.  Bands are numbered
    from 1 and named by the coordinate ``band_name``; they have no wavelengths.  NaN
    marks missing data.
    """
    coords = {
        "band": np.arange(1, len(values) + 1),
        "band_name": ("band", np.asarray(names, dtype=np.str_)),
    }
    cube = xr.DataArray(values, dims=("band", "y", "x"), coords=coords)
    cube.attrs["nodata"] = float("nan")
    cube = with_header(cube, acquisition_header(scene.header))
    return scene.replace(cube=with_grid(cube, scene.grid))


Result = TypeVar("Result")

_MEMORY_SHARE = 0.8
"""Share of the available memory to use for bands."""


def map_bands(
    scene: Scene, work: Callable[[int, Floats], Result], at_once: int
) -> list[Result]:
    """Apply a function to each band, in threads.

    Parameters
    ----------
    work : callable
        Takes the index of a band and its values (row, col) in float64.
    at_once : int
        Number of bands processed in parallel.
    """
    reading = Lock()

    def one(position: int) -> Result:
        # A file must not be read by several threads.
        with reading:
            values = np.asarray(scene.cube.isel(band=position).values, dtype=np.float64)
        check_range(values[scene.valid], scene)
        return work(position, values)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, range(scene.n_bands)))


def parallel_bands(scene: Scene, per_pixel: int, n_jobs: int | None = None) -> int:
    """Return the number of bands to process in parallel.

    Parameters
    ----------
    per_pixel : int
        Bytes per pixel needed to process one band.
    n_jobs : int, optional
        Requested number; by default one per core, or ``OMP_NUM_THREADS``.

    Raises
    ------
    SceneError
        If even one band does not fit in memory.
    """
    rows, cols = scene.shape
    needed, free = per_pixel * (rows + 2) * (cols + 2), available_bytes()
    fitting = int(_MEMORY_SHARE * free // needed)
    if fitting < 1:
        raise SceneError(
            f"The shapes of a band of {scene.name} need {needed / 2**30:,.1f} GiB of memory and "
            f"{free / 2**30:,.1f} GiB are free; cut the image smaller or use a larger machine."
        )
    return max(1, min(n_jobs or _cores(), fitting, scene.n_bands))


def _cores() -> int:
    """Return the number of threads this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    pinned = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(pinned)) if pinned.isdecimal() and int(pinned) else cores
