"""Features of a scene of any size: computed where they are read, and never as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import CallError
from hypercover.features.chain import Chain
from hypercover.features.feature import Feature, Progress, feature_scene, subprogress
from hypercover.features.profiles import Profiles
from hypercover.scene.io.limits import fits_in_memory
from hypercover.scene.lazy import LazyArray, bounding_slice
from hypercover.scene.nodata import without_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Tile

__all__ = [
    "BorderLevels",
    "blockwise",
    "border_levels",
    "check_blockwise",
    "edge_medians",
    "fit_blockwise",
    "fit_stack",
    "fits_whole",
    "overlap_note",
]

_GAP = 64
"""Columns without an edge that are worth leaving unread."""


def edge_medians(scene: Scene) -> list[float]:
    """Return for each band the median of the pixels at the edge of the data.

    The same as :func:`~hypercover.features.tree_of_shapes.border_median` of each whole
    band, of which the edge alone is read.

    Examples
    --------
    >>> import xarray as xr
    >>> band = np.array([[1.0, 2.0, 3.0], [4.0, 99.0, 5.0], [6.0, 7.0, 8.0]])
    >>> edge_medians(Scene(xr.DataArray(band[None], dims=("band", "y", "x"))))
    [4.5]
    """
    valid = scene.valid
    around = np.pad(valid, 1)
    enclosed = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    edge = valid & ~enclosed
    found = [
        scene.read(rows, cols)[:, edge[rows, cols]]
        for rows in scene.strips()
        for cols in _column_runs(edge[rows])
    ]
    if not found:
        return [0.0] * scene.n_bands
    values = np.concatenate(found, axis=1).astype(np.float64)
    return [float(level) for level in np.median(values, axis=1)]


def _column_runs(edge: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Cut the columns that hold an edge into runs without long gaps."""
    cols = np.flatnonzero(edge.any(axis=0))
    for run in np.split(cols, np.flatnonzero(np.diff(cols) > _GAP) + 1):
        if len(run):
            yield slice(int(run[0]), int(run[-1]) + 1)


BorderLevels = list[list[float] | None]
"""For each step of a chain the level around each band, where it needs one."""

_VALUES_PER_STRIP = 2**22
"""Values of the scene that are read at once."""

_SMALL_STACK = 2**26
"""Bytes of a stack that is computed whole, as it takes less than the program itself."""


def fits_whole(chain: Chain, scene: Scene) -> bool:
    """Tell whether the stack of a chain is best computed whole.

    That of attribute profiles is, where it fits in memory, as pieces of it differ.
    """
    rows, cols = scene.shape
    size = 4 * chain.outputs(scene.n_bands) * rows * cols
    return fits_in_memory(size) if chain.reach is None else size <= _SMALL_STACK


def blockwise(
    chain: Chain,
    scene: Scene,
    *,
    overlap: int | None = None,
    levels: BorderLevels | None = None,
) -> Scene:
    """Return the scene of a fitted chain's features, computed where it is read.

    Why it exists: the stack of a mosaic is larger than memory, and a map or a
    file is made of it piece by piece.  Spectral features of a pixel depend on
    that pixel alone, so the pieces are those of the whole.

    Parameters
    ----------
    overlap : int, optional
        Pixels around a piece from which attribute profiles, which depend on
        any distance, are computed.  Their values then differ from those of the
        image in one piece where shapes are cut; unless given, such a chain is
        refused.
    levels : as `border_levels` gives them, so that they are not looked for again

    Raises
    ------
    CallError
        If the chain looks any distance and no overlap is given.
    """
    check_blockwise(chain, overlap)
    known = levels or border_levels(chain, scene, overlap=overlap)
    for feature, outside in zip(chain.features, known, strict=True):
        scene = _blockwise(feature, scene, overlap, outside)
    return scene


def fit_blockwise(
    chain: Chain,
    scene: Scene,
    *,
    seed: int = 0,
    overlap: int | None = None,
    progress: Progress | None = None,
) -> BorderLevels:
    """Fit a chain as :meth:`Chain.fit` does, holding no stack; return its `border_levels`.

    A step after the first reads what the steps before make of each piece, as
    often as it looks at it.

    Raises
    ------
    CallError
        As `blockwise`.
    SceneError
        If a step cannot learn from what it is given.
    """
    check_blockwise(chain, overlap)
    levels = []
    for place, feature in enumerate(chain.features):
        said = subprogress(progress, place, len(chain.features))
        feature.fit(scene, seed=seed, progress=said)
        if said is not None:
            said(1, 1)
        levels.append(_border_level(feature, scene))
        if place + 1 < len(chain.features):
            scene = _blockwise(feature, scene, overlap, levels[-1])
    return levels


def fit_stack(
    chain: Chain, scene: Scene, *, seed: int = 0, progress: Progress | None = None
) -> Scene:
    """Fit a chain and return the scene of its features, whole or computed where it is read.

    Raises
    ------
    SceneError
        If a step cannot learn from what it is given, or profiles do not fit in memory.
    """
    if chain.reach is None or fits_whole(chain, scene):
        return chain.fit_transform(scene, seed=seed, progress=progress)
    levels = fit_blockwise(chain, scene, seed=seed, progress=progress)
    return blockwise(chain, scene, levels=levels)


def border_levels(
    chain: Chain, scene: Scene, *, overlap: int | None = None
) -> BorderLevels:
    """Return the level around each band that each step of a fitted chain starts from.

    Why it exists: the shapes of a band hang on what surrounds the whole scene,
    which no piece knows.  None for a step that looks at single pixels.
    """
    check_blockwise(chain, overlap)
    levels = []
    for place, feature in enumerate(chain.features):
        levels.append(_border_level(feature, scene))
        if place + 1 < len(chain.features) and chain.reach is None:
            scene = _blockwise(feature, scene, overlap, levels[-1])
    return levels


def overlap_note(chain: Chain, overlap: int | None) -> tuple[str, ...]:
    """Say that features were computed with an overlap, where that changes them."""
    if chain.reach is not None or overlap is None:
        return ()
    return (
        f"Attribute profiles were computed on pieces with {overlap} pixels around them: "
        "shapes that reach further are cut, and values differ from those of the image in "
        "one piece.",
    )


def check_blockwise(chain: Chain, overlap: int | None) -> None:
    """Refuse a chain that cannot be computed piece by piece.

    Raises
    ------
    CallError
        If it looks any distance and no overlap is given.
    """
    if chain.reach is None and overlap is None:
        raise CallError(
            "Attribute profiles depend on the whole image, so they are not the same piece "
            "by piece; give an image that fits in memory, or --overlap with the pixels to "
            "look at around a piece."
        )


def _border_level(feature: Feature, scene: Scene) -> list[float] | None:
    return edge_medians(scene) if isinstance(feature, Profiles) else None


def _blockwise(
    feature: Feature, scene: Scene, overlap: int | None, outside: list[float] | None
) -> Scene:
    """Return the scene of one fitted feature, computed where it is read."""
    if isinstance(feature, Profiles) and outside is not None:
        feature = feature.surrounded_by(outside)
    margin = feature.reach if feature.reach is not None else overlap or 0
    names = _output_names(feature, scene)
    values = _FeatureBlocks(feature, scene, margin, len(names))
    lazy = LazyArray((len(names), *scene.shape), np.float32, values.fetch)
    variable = xr.Variable(("band", "y", "x"), lazy.as_variable_data())
    made = feature_scene(scene, variable, names)
    facts = {each.name: getattr(made, each.name) for each in fields(Scene)}
    return _FeatureScene(**facts, seen=scene)


@dataclass(frozen=True, eq=False)
class _FeatureScene(Scene):
    """A scene of features, which hold data where what they are made of does."""

    seen: Scene | None = None
    """What the features are made of."""

    @cached_property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Pixels (y, x) that hold data, without computing a feature."""
        assert self.seen is not None  # noqa: S101
        return self.seen.valid


def _output_names(feature: Feature, scene: Scene) -> tuple[str, ...]:
    """Ask a single pixel what the features are called."""
    pixel = np.ones((scene.n_bands, 1, 1), dtype=np.float32)
    cube = scene.cube.isel(y=slice(0, 1), x=slice(0, 1)).copy(data=pixel)
    names = feature.transform(Scene(without_nodata(cube))).band_names
    assert names is not None  # noqa: S101
    return names


class _FeatureBlocks:
    """Computes any rectangle of a feature's stack."""

    def __init__(self, feature: Feature, scene: Scene, margin: int, count: int) -> None:
        self._feature, self._scene = feature, scene
        self._margin, self._count = margin, count

    def fetch(self, wanted: tuple[npt.NDArray[np.intp], ...]) -> npt.NDArray[np.generic]:
        """Return features (feature, row, col) at these places."""
        bands, rows, cols = wanted
        down, across = bounding_slice(rows), bounding_slice(cols)
        whole = self._rectangle(down, across)
        at = np.ix_(bands, rows - down.start, cols - across.start)
        return np.asarray(whole[at])

    def _rectangle(self, rows: slice, cols: slice) -> npt.NDArray[np.float32]:
        """Compute a rectangle, in strips that are read at once."""
        width = cols.stop - cols.start + 2 * self._margin
        height = _VALUES_PER_STRIP // (width * self._scene.n_bands) - 2 * self._margin
        step = max(height, self._margin, 1)
        shape = (self._count, rows.stop - rows.start, cols.stop - cols.start)
        values = np.empty(shape, dtype=np.float32)
        whole = Tile(rows, cols)
        for strip in whole.cut(step, shape[2]):
            values[:, *strip.within(whole)] = self._strip(strip)
        return values

    def _strip(self, strip: Tile) -> Any:
        """Compute a strip from its pixels and those around it."""
        around, _ = strip.with_margin(self._margin, self._scene.shape)
        piece = self._scene.cube.isel(y=around.rows, x=around.cols)
        piece = piece.copy(data=self._scene.read(around.rows, around.cols))
        scene = Scene(piece, name=self._scene.name)
        if not scene.valid.any():
            return np.full((self._count, *strip.shape), np.nan, dtype=np.float32)
        return self._feature.transform(scene).cube.values[:, *strip.within(around)]
