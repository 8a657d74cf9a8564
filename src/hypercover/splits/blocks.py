"""Splits by blocks: whole squares of the image train, a guard band away from the test."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from scipy.sparse import coo_array

from hypercover.errors import SplitError
from hypercover.splits.region_split import Draw, RegionSplit
from hypercover.splits.split import Guard
from hypercover.types import Codes, Floats, Indices, Ints, Mask

_ORIGINS = 64

_STARTS = 48

_PROPOSALS = 48

_SCREENING = 8

_POLISHING = 60

_LOST = 0.2
"""Cost of pixels lost to the guard.  Without it blocks are scattered and lose more pixels
than in a random draw; a higher cost crowds them into one corner of the image."""

_TOTAL = 10.0
"""Cost of the squared deviation from the share of all pixels."""

_WORK = 1e8
"""Look-ups allowed for a draw, which bounds the time on whole flight lines."""


class SpatialUnits(ABC):
    """Parts of a label map that are drawn whole: blocks or fields.

    A draw is improved by trying thousands of selections.  Pixels of one class whose
    guard touches the same regions are lost together, so they are counted as one
    group.
    """

    n_regions: int
    """Number of regions, with or without labelled pixels."""
    labelled: Indices
    """Indices of the regions with labelled pixels, which can be drawn."""
    sizes: Indices
    """Labelled pixels of each item (item,)."""
    strata: Indices
    """Stratum of each item (item,), from 0; about the same share of each is drawn."""
    totals: Indices
    """Pixels of each class (class,)."""
    _weights: Indices
    """Pixels of each group, class after class."""
    _starts: Indices
    """First group of each class."""

    @property
    def groups(self) -> int:
        """Number of groups of pixels: the work of evaluating one selection."""
        return len(self._weights)

    @abstractmethod
    def _outside_guard(self, selected: Mask) -> Mask:
        """Tell which groups each selection (n, region) leaves for the test: (n, group)."""

    @abstractmethod
    def drawn(self, selected: Mask) -> Floats:
        """Count the pixels of each class in each selection (n, region): (n, class)."""

    def left(self, selected: Mask) -> Ints:
        """Count the pixels of each class outside the guard of each selection: (n, class)."""
        free = self._outside_guard(selected)
        return np.add.reduceat(free * self._weights, self._starts, axis=1)


AnyUnits = TypeVar("AnyUnits", bound=SpatialUnits)


class Blocks(SpatialUnits):
    """A label map cut into squares.

    A selection is evaluated with one integral image over the squares and four
    look-ups for each group.  A pixel counts as left when its guard square touches no
    selected block.  The split itself measures distances to labelled pixels only, and
    so never leaves fewer.

    Parameters
    ----------
    label_map : array (y, x)
        Class codes; 0 = unlabelled.
    size : int
        Side of a square in pixels.
    guard : int
        Width of the guard band in pixels.
    origin : two ints from 0 to below size
        How far above and left of the image the first square begins.
    """

    def __init__(
        self, label_map: Codes, size: int, guard: int, origin: tuple[int, int] = (0, 0)
    ) -> None:
        self.size, self.origin = size, origin
        self.label_map = label_map
        rows, cols = np.nonzero(label_map)
        _, classes = np.unique(label_map[rows, cols], return_inverse=True)
        rows, cols = rows + origin[0], cols + origin[1]
        self.shape = tuple(np.add(label_map.shape, origin).tolist())
        self.grid = tuple(-(-side // size) for side in self.shape)
        self.n_regions = self.grid[0] * self.grid[1]
        blocks = rows // size * self.grid[1] + cols // size
        self._per_block = coo_array(
            (np.ones(len(blocks)), (classes, blocks)),
            shape=(classes.max() + 1, self.n_regions),
        ).tocsr()
        self.labelled = np.unique(blocks)
        self.sizes = np.bincount(blocks)[self.labelled]
        self.strata = np.zeros(len(self.labelled), dtype=np.intp)
        self.totals = np.bincount(classes)
        self._group(rows, cols, classes, guard)

    @classmethod
    def cuts(
        cls, label_map: Codes, size: int, guard: int, rng: Generator
    ) -> Iterator["Blocks"]:
        """Cut a label map at random origins, each at most once."""
        origins = rng.permutation(size * size)[:_ORIGINS]
        for origin in origins.tolist():
            blocks = cls(label_map, size, guard, divmod(origin, size))
            if len(blocks.labelled) > 1:
                yield blocks

    def _group(self, rows: Indices, cols: Indices, classes: Indices, guard: int) -> None:
        """Group pixels by class and by the rectangle of blocks within their guard."""
        height, width = self.shape
        rectangles = (
            classes,
            np.maximum(rows - guard, 0) // self.size,
            np.minimum(rows + guard, height - 1) // self.size + 1,
            np.maximum(cols - guard, 0) // self.size,
            np.minimum(cols + guard, width - 1) // self.size + 1,
        )
        sides = (len(self.totals), *(side + 1 for side in np.repeat(self.grid, 2)))
        keys, self._weights = np.unique(
            np.ravel_multi_index(rectangles, sides), return_counts=True
        )
        group_class, top, bottom, left, right = np.unravel_index(keys, sides)
        stride = self.grid[1] + 1
        self._corners = (
            bottom * stride + right,
            top * stride + left,
            top * stride + right,
            bottom * stride + left,
        )
        self._starts = np.searchsorted(group_class, np.arange(len(self.totals)))

    def _outside_guard(self, selected: Mask) -> Mask:
        squares = selected.reshape(-1, *self.grid)
        sums = np.zeros((len(squares), self.grid[0] + 1, self.grid[1] + 1), dtype=np.int32)
        np.cumsum(squares, axis=1, out=sums[:, 1:, 1:])
        np.cumsum(sums[:, 1:, 1:], axis=2, out=sums[:, 1:, 1:])
        flat = sums.reshape(len(squares), -1)
        plus, also, minus, less = (flat[:, corner] for corner in self._corners)
        return np.asarray(plus + also == minus + less)

    def drawn(self, selected: Mask) -> Floats:
        """Count the pixels of each class in each selection (n, block): (n, class)."""
        return np.asarray((self._per_block @ selected.T.astype(np.float32)).T)

    def pixels(self, selected: Mask) -> Mask:
        """Return the labelled pixels (y, x) of one selection (block,)."""
        squares = selected.reshape(self.grid)
        cells = squares.repeat(self.size, axis=0).repeat(self.size, axis=1)
        (top, left), (bottom, right) = self.origin, self.shape
        return cells[top:bottom, left:right] & (self.label_map > 0)


def _costs(
    regions: SpatialUnits, selected: Mask, share: float, rest_matters: bool
) -> Floats:
    """Evaluate selections (n, region): missing classes count first, then uneven shares.

    Strata are drawn by their own shares, so their total does not count: a stratum of a
    single field must not affect the others.
    """
    drawn, left = regions.drawn(selected), regions.left(selected)
    missing = 2.0 * (drawn == 0).sum(axis=1)
    missing += (4.0 if rest_matters else 1.5) * (left == 0).sum(axis=1)
    uneven = np.minimum((drawn / (share * regions.totals) - 1) ** 2, 1)
    lost = 1 - left / ((1 - share) * regions.totals)
    costs = missing + uneven.mean(axis=1) + _LOST * np.maximum(lost, 0).mean(axis=1)
    if not regions.strata.any():
        total = drawn.sum(axis=1) / (share * regions.totals.sum()) - 1
        costs = costs + _TOTAL * total**2
    return np.asarray(costs)


def draw_regions(
    cuts: Iterator[AnyUnits], share: float, rng: Generator, *, rest_matters: bool = False
) -> tuple[AnyUnits, Mask]:
    """Select blocks or fields with about a share of the pixels.

    Every cut is screened with random draws and a few rounds of swaps; the best is
    improved further.  Classes on both sides count most, then equal shares of every
    class, then pixels left for the test.

    Parameters
    ----------
    cuts : iterator of SpatialUnits
        The same labels cut at different origins; as many are tried as the work
        allows.
    share : float
        Share of the labelled pixels to draw.
    rng : numpy Generator
        Source of the draw.
    rest_matters : bool
        Whether it is worse for a class to be drawn completely than not at all.

    Returns
    -------
    The best cut and its selected regions (region,).
    """
    best: tuple[float, AnyUnits, Mask] | None = None
    work = 0.0

    def improved(
        regions: AnyUnits, cost: float, selected: Mask, rounds: int
    ) -> tuple[float, Mask]:
        """Take the best of some random swaps in each round, if it is better."""
        # Swaps that only even out the shares would lead every seed to the same few fields.
        least = 0.3 if regions.strata.any() else 0.0
        for _ in range(rounds):
            proposals = _swaps(regions, selected, rng)
            costs = _costs(regions, proposals, share, rest_matters)
            if costs.min() < cost - least:
                cost, selected = float(costs.min()), proposals[costs.argmin()]
        return cost, selected

    for regions in cuts:
        starts = _random_selections(regions, share, rng)
        costs = _costs(regions, starts, share, rest_matters)
        start = float(costs.min()), starts[costs.argmin()]
        cost, selected = improved(regions, *start, _SCREENING)
        if best is None or cost < best[0]:
            best = cost, regions, selected
        work += regions.groups * (_STARTS + _SCREENING * _PROPOSALS)
        if work > _WORK / 2:
            break
    if best is None:
        raise ValueError("At least one cut is needed to draw blocks from.")
    cost, regions, selected = best
    rounds = int(min(_POLISHING, _WORK / 2 / (_PROPOSALS * regions.groups)))
    return regions, improved(regions, cost, selected, rounds)[1]


def _random_selections(regions: SpatialUnits, share: float, rng: Generator) -> Mask:
    """Draw items, several times, until about a share of each stratum is reached.

    One item of a stratum of two or more is always left.
    """
    selected = np.zeros((_STARTS, regions.n_regions), dtype=bool)
    for stratum in np.unique(regions.strata):
        items = np.flatnonzero(regions.strata == stratum)
        orders = rng.permuted(np.tile(items, (_STARTS, 1)), axis=1)
        reached = regions.sizes[orders].cumsum(axis=1)
        enough = np.abs(reached - share * reached[0, -1]).argmin(axis=1) + 1
        enough = np.minimum(enough, max(len(items) - 1, 1))
        early = np.arange(len(items)) < enough[:, None]
        selected[np.nonzero(early)[0], regions.labelled[orders[early]]] = True
    return selected


def _swaps(regions: SpatialUnits, selected: Mask, rng: Generator) -> Mask:
    """Propose changes: swap a selected region for another, or only add or drop one."""
    proposals = np.tile(selected, (_PROPOSALS, 1))
    inside = regions.labelled[selected[regions.labelled]]
    outside = regions.labelled[~selected[regions.labelled]]
    what, each = rng.integers(4, size=_PROPOSALS), np.arange(_PROPOSALS)
    joining = rng.choice(outside, _PROPOSALS)
    leaving = rng.choice(inside, _PROPOSALS)
    adds = (what != 0) & ((what != 1) | (len(outside) > 1))
    drops = (what != 1) & ((what != 0) | (len(inside) > 1))
    proposals[each[adds], joining[adds]] = True
    proposals[each[drops], leaving[drops]] = False
    return proposals


@dataclass(frozen=True)
class BlockSplit(RegionSplit):
    """Train on whole square blocks and test on others beyond a guard band.

    Pixels of one field resemble each other, and windows of neighbours overlap, so a
    test next to the training pixels flatters the classifier.  Whole blocks keep most
    fields on one side (Nalepa et al. 2019).  A guard band of window − 1 pixels leaves
    no pixel that a training and a test window share; one of window // 2 leaves no
    training centre in a test window.

    The image is cut into squares at several seeded origins.  For each, seeded draws
    assign whole blocks to the training part until it holds about ``train`` of the
    labelled pixels.  The best draw is improved by swaps so that as many classes as
    possible are on both sides and each contributes about that share
    (``settings["origin"]`` is the row and column where the first square begins).
    Labelled pixels of other blocks are tested if they are farther than ``guard``
    pixels (Chebyshev) from every labelled pixel of the drawn blocks; those in between
    are the guard.

    Validation takes whole blocks out of the drawn ones in the same way, and training
    pixels within ``guard`` of them join the guard.  The test pixels are the same with
    and without validation.

    Parameters
    ----------
    size : int
        Side of a block in pixels.
    train : float between 0 and 1
        Share of the labelled pixels in the drawn blocks.
    guard : int or "auto"
        Width of the guard band in pixels; "auto" is window − 1.
    validation : float from 0 to below 1
        Share of the drawn pixels set aside for validation.

    Examples
    --------
    T train, o test, - guard; the first class fills the left half:

    >>> labels = np.repeat(np.repeat([[1, 2]], 12, axis=1), 8, axis=0)
    >>> split = BlockSplit(size=4, train=0.25, guard=2).split(labels, seed=3)
    >>> for row in split.parts:
    ...     print("".join(".T!o-"[part] for part in row))
    ooooo--TTTTTTTT--ooooooo
    ooooo--TTTTTTTT--ooooooo
    ooooo--TTTTTTTT--ooooooo
    ooooo--TTTTTTTT--ooooooo
    ooooo------TTTT--ooooooo
    ooooo------TTTT--ooooooo
    ooooooooo--TTTT--ooooooo
    ooooooooo--TTTT--ooooooo
    """

    size: int = 15
    """Side of a block in pixels."""
    train: float = 0.25
    """Share of the labelled pixels to train on."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    kind = "blocks"

    def __post_init__(self) -> None:
        """Check size, shares and guard."""
        if self.size < 1:
            raise SplitError(f"A block must be at least 1 pixel wide, got {self.size}.")
        super().__post_init__()

    def _draw(self, label_map: Ints, guard: int, seed: int) -> Draw:
        rng = np.random.default_rng([seed, 0])
        cuts = Blocks.cuts(label_map, self.size, guard, rng)
        first = next(cuts, None)
        if first is None:
            raise SplitError(
                f"All labelled pixels are in one block of {self.size} × {self.size} pixels; "
                "use smaller blocks."
            )
        cut, selected = draw_regions(chain([first], cuts), self.train, rng)
        pixels = cut.pixels(selected)
        return Draw(
            pixels,
            lambda: self._validation(cut, pixels, guard, seed),
            settings={"origin": [-offset for offset in cut.origin]},
        )

    def _validation(self, cut: Blocks, drawn: Mask, guard: int, seed: int) -> Mask:
        """Draw whole validation blocks from the training blocks."""
        if self.validation == 0:
            return np.zeros_like(drawn)
        inner = Blocks(np.where(drawn, cut.label_map, 0), self.size, guard, cut.origin)
        if len(inner.labelled) < 2:
            raise SplitError(
                f"A validation share of {self.validation} needs two training blocks, but only "
                f"one of {self.size} × {self.size} pixels was drawn; use smaller blocks or "
                "validation: 0."
            )
        rng = np.random.default_rng([seed, 1])
        _, selected = draw_regions(iter([inner]), self.validation, rng, rest_matters=True)
        return inner.pixels(selected)
