"""Image features of scenes larger than memory, computed lazily block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from hypercover.errors import CallError
from hypercover.features.chain import Chain
from hypercover.features.feature import Feature, feature_scene, subprogress
from hypercover.features.profiles import AttributeProfiles
from hypercover.features.tree_of_shapes import border_pixels
from hypercover.scene.io.limits import fits_in_memory
from hypercover.scene.nodata import without_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import LazyArray, Tile, bounding_slice
from hypercover.types import Array, Indices, Mask, Progress, Singles

_GAP = 64
"""Columns without a border pixel that are worth skipping."""


def edge_medians(scene: Scene) -> list[float]:
    """Return the median of the border pixels of each band.

    Equal to :func:`~hypercover.features.tree_of_shapes.border_median` of each band, but
    reads the border only.

    Examples
    --------
    >>> import xarray as xr
    >>> band = np.array([[1.0, 2.0, 3.0], [4.0, 99.0, 5.0], [6.0, 7.0, 8.0]])
    >>> edge_medians(Scene(xr.DataArray(band[None], dims=("band", "y", "x"))))
    [4.5]
    """
    edge = border_pixels(scene.valid)
    parts = [
        scene.read(rows, cols)[:, edge[rows, cols]]
        for rows in scene.strips()
        for cols in _column_runs(edge[rows])
    ]
    if not parts:
        return [0.0] * scene.n_bands
    values = np.concatenate(parts, axis=1).astype(np.float64)
    return [float(level) for level in np.median(values, axis=1)]


def _column_runs(edge: Mask) -> Iterator[slice]:
    """Group the columns that contain border pixels into runs without long gaps."""
    cols = np.flatnonzero(edge.any(axis=0))
    for run in np.split(cols, np.flatnonzero(np.diff(cols) > _GAP) + 1):
        if len(run):
            yield slice(int(run[0]), int(run[-1]) + 1)


BorderLevels = list[list[float] | None]
"""For each step of a chain, the level around each band, or None."""

_VALUES_PER_STRIP = 2**22
"""Values of the scene read at a time."""

_SMALL_STACK = 2**26
"""Bytes of a stack below which it is always computed whole."""


def fits_whole(chain: Chain, scene: Scene) -> bool:
    """Return whether the features of a chain should be computed as a whole.

    Attribute profiles are computed as a whole if they fit in memory, because blocks
    change their values.
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
    """Return a lazy scene of the features of a fitted chain.

    Parameters
    ----------
    overlap : int, optional
        Margin in pixels around a block, for attribute profiles, which depend on
        pixels at any distance.  Where the margin cuts shapes, the values differ
        from those of the whole image.
    levels : list, optional
        Result of `border_levels`, computed here by default.

    Raises
    ------
    CallError
        If the chain depends on pixels at any distance and ``overlap`` is None.
    """
    check_blockwise(chain, overlap)
    levels = levels or border_levels(chain, scene, overlap=overlap)
    for feature, outside in zip(chain.features, levels, strict=True):
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
    """Fit a chain without holding a stack in memory; return its `border_levels`.

    Each step after the first recomputes the previous ones whenever it reads a block.

    Raises
    ------
    CallError
        As `blockwise`.
    SceneError
        If a step cannot be fitted to its input.
    """

    def fit(place: int, feature: Feature, scene: Scene) -> None:
        report = subprogress(progress, place, len(chain.features))
        feature.fit(scene, seed=seed, progress=report)
        if report is not None:
            report(1, 1)

    return _visit(chain, scene, overlap, fit)


def fit_stack(
    chain: Chain, scene: Scene, *, seed: int = 0, progress: Progress | None = None
) -> Scene:
    """Fit a chain and return the scene of its features, lazy if it is large.

    Raises
    ------
    SceneError
        If a step cannot be fitted to its input, or profiles do not fit in memory.
    """
    if chain.reach is None or fits_whole(chain, scene):
        return chain.fit_transform(scene, seed=seed, progress=progress)
    levels = fit_blockwise(chain, scene, seed=seed, progress=progress)
    return blockwise(chain, scene, levels=levels)


def border_levels(
    chain: Chain, scene: Scene, *, overlap: int | None = None
) -> BorderLevels:
    """Return the level around each band for each step of a fitted chain.

    Attribute profiles need the level around the whole scene, which a block does not
    contain.  None for other steps.
    """
    if chain.reach is not None:
        return [None] * len(chain.features)
    return _visit(chain, scene, overlap, lambda *_: None)


def _visit(
    chain: Chain,
    scene: Scene,
    overlap: int | None,
    visit: Callable[[int, Feature, Scene], None],
) -> BorderLevels:
    """Call a function with each step of a chain and its input; return the border levels."""
    check_blockwise(chain, overlap)
    levels: BorderLevels = []
    for place, feature in enumerate(chain.features):
        visit(place, feature, scene)
        levels.append(
            edge_medians(scene) if isinstance(feature, AttributeProfiles) else None
        )
        if place + 1 < len(chain.features):
            scene = _blockwise(feature, scene, overlap, levels[-1])
    return levels


def overlap_note(chain: Chain, overlap: int | None) -> tuple[str, ...]:
    """Return a note if features were computed with an overlap that may change them."""
    if chain.reach is not None or overlap is None:
        return ()
    return (
        f"Attribute profiles were computed in blocks with a margin of {overlap} pixels: "
        "larger shapes are cut, so values may differ from those of the whole image.",
    )


def check_blockwise(chain: Chain, overlap: int | None) -> None:
    """Refuse a chain that cannot be computed block by block.

    Raises
    ------
    CallError
        If it depends on pixels at any distance and ``overlap`` is None.
    """
    if chain.reach is None and overlap is None:
        raise CallError(
            "Attribute profiles depend on the whole image, which does not fit in memory; use "
            "a smaller image, or --overlap to compute them in blocks with a margin of that "
            "many pixels."
        )


def _blockwise(
    feature: Feature, scene: Scene, overlap: int | None, outside: list[float] | None
) -> Scene:
    """Return the lazy scene of one fitted feature."""
    if isinstance(feature, AttributeProfiles) and outside is not None:
        feature = feature.surrounded_by(outside)
    margin = feature.reach if feature.reach is not None else overlap or 0
    names = _output_names(feature, scene)
    blocks = _FeatureBlocks(feature, scene, margin, len(names))
    lazy = LazyArray((len(names), *scene.shape), np.float32, blocks.fetch)
    variable = xr.Variable(("band", "y", "x"), lazy.as_variable_data())
    stack = feature_scene(scene, variable, names)
    values = {each.name: getattr(stack, each.name) for each in fields(Scene)}
    return _FeatureScene(**values, original=scene)


@dataclass(frozen=True, eq=False)
class _FeatureScene(Scene):
    """A lazy scene of features, valid where its source is."""

    original: Scene | None = None
    """Scene the features are computed from."""

    @cached_property
    def valid(self) -> Mask:
        """Valid pixels (y, x), known without computing a feature."""
        assert self.original is not None  # noqa: S101
        return self.original.valid


def _output_names(feature: Feature, scene: Scene) -> tuple[str, ...]:
    """Return the names of the features, from a single pixel."""
    pixel = np.ones((scene.n_bands, 1, 1), dtype=np.float32)
    cube = scene.cube.isel(y=slice(0, 1), x=slice(0, 1)).copy(data=pixel)
    names = feature.transform(Scene(without_nodata(cube))).band_names
    assert names is not None  # noqa: S101
    return names


@dataclass(frozen=True, eq=False)
class _FeatureBlocks:
    """Computes any rectangle of the features of a scene."""

    feature: Feature
    scene: Scene
    margin: int
    count: int

    def fetch(self, indices: tuple[Indices, ...]) -> Array:
        """Return features (feature, row, col) at band, row and column indices."""
        bands, rows, cols = indices
        down, across = bounding_slice(rows), bounding_slice(cols)
        at = np.ix_(bands, rows - down.start, cols - across.start)
        return np.asarray(self._rectangle(Tile(down, across))[at])

    def _rectangle(self, whole: Tile) -> Singles:
        """Compute a rectangle strip by strip."""
        width = whole.shape[1] + 2 * self.margin
        height = _VALUES_PER_STRIP // (width * self.scene.n_bands) - 2 * self.margin
        values = np.empty((self.count, *whole.shape), dtype=np.float32)
        for strip in whole.cut(max(height, self.margin, 1), whole.shape[1]):
            values[:, *strip.within(whole)] = self._strip(strip)
        return values

    def _strip(self, strip: Tile) -> Any:
        """Compute a strip from its pixels and those around it."""
        around, _ = strip.with_margin(self.margin, self.scene.shape)
        piece = self.scene.cube.isel(y=around.rows, x=around.cols)
        piece = piece.copy(data=self.scene.read(around.rows, around.cols))
        scene = Scene(piece, name=self.scene.name)
        if not scene.valid.any():
            return np.nan
        return self.feature.transform(scene).cube.values[:, *strip.within(around)]
