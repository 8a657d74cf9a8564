"""Splits by blocks: whole squares of the image train, far enough from the test."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from hypercover.errors import SplitError
from hypercover.scene.samples import check_window
from hypercover.splits.guard import (
    Guard,
    apart,
    check_guard,
    guard_notes,
    guard_width,
    near,
    too_wide,
)
from hypercover.splits.random_split import check_validation
from hypercover.splits.split import Split, check_labels

__all__ = ["BlockSplit", "Blocks", "Whole", "draw_whole"]

Chosen = npt.NDArray[np.bool_]

Cost = npt.NDArray[np.float64]

_ORIGINS = 64

_STARTS = 48

_PROPOSALS = 48

_SCREENING = 8

_POLISHING = 60

_LOST = 0.2
"""Cost of pixels lost to the guard.  Even shares alone scatter the blocks and lose
more than a random draw does; a higher cost crowds them into one corner of the land."""

_WORK = 1e8
"""Look-ups a draw may cost: bounds the time on whole flight lines."""


class Whole(Protocol):
    """Land that is drawn whole: blocks or fields, each at a place."""

    places: int
    """Number of places, some of which may hold no labelled pixel."""
    labelled: npt.NDArray[np.intp]
    """Places (item,) with labelled pixels: the items that are drawn."""
    sizes: npt.NDArray[np.intp]
    """Labelled pixels of each item (item,)."""
    strata: npt.NDArray[np.intp]
    """Stratum of each item (item,), from 0; each gives about the share that is drawn."""
    totals: npt.NDArray[np.intp]
    """Pixels of each class (class,)."""
    groups: int
    """Groups of pixels of one fate: the work of judging one choice."""

    def left(self, chosen: Chosen) -> npt.NDArray[np.int64]:
        """Count what each choice (n, place) leaves of each class: (n, class)."""

    def taken(self, chosen: Chosen) -> npt.NDArray[np.float64]:
        """Count what each choice (n, place) takes of each class: (n, class)."""


Land = TypeVar("Land", bound=Whole)


class Blocks:
    """A label map cut into squares, ready to say what a choice of squares leaves.

    Why it exists: a draw is improved by trying thousands of choices.  Pixels of
    one class whose guard square touches the same squares share one fate, so
    they are counted as one group; a choice is then judged with one integral
    image over the squares and four look-ups a group.

    A pixel counts as left when its guard square touches no chosen block.  The
    split itself measures distances to labelled pixels only and so never leaves
    fewer.

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
        self,
        label_map: npt.NDArray[np.integer],
        size: int,
        guard: int,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        self.size, self.origin = size, origin
        self.label_map = label_map
        rows, cols = np.nonzero(label_map)
        _, classes = np.unique(label_map[rows, cols], return_inverse=True)
        rows, cols = rows + origin[0], cols + origin[1]
        self.shape = tuple(np.add(label_map.shape, origin).tolist())
        self.grid = tuple(-(-side // size) for side in self.shape)
        self.places = self.grid[0] * self.grid[1]
        places = rows // size * self.grid[1] + cols // size
        self._per_block = coo_array(
            (np.ones(len(places)), (classes, places)),
            shape=(classes.max() + 1, self.places),
        ).tocsr()
        self.labelled = np.unique(places)
        self.sizes = np.bincount(places)[self.labelled]
        self.strata = np.zeros(len(self.labelled), dtype=np.intp)
        self.totals = np.bincount(classes)
        self._group(rows, cols, classes, guard)

    @classmethod
    def cuts(
        cls,
        label_map: npt.NDArray[np.integer],
        size: int,
        guard: int,
        rng: np.random.Generator,
    ) -> Iterator["Blocks"]:
        """Cut a label map at random origins, no origin twice."""
        origins = rng.permutation(size * size)[:_ORIGINS]
        for origin in origins.tolist():
            blocks = cls(label_map, size, guard, divmod(origin, size))
            if blocks.count > 1:
                yield blocks

    @property
    def count(self) -> int:
        """Number of blocks that hold a labelled pixel."""
        return len(self.labelled)

    def _group(
        self,
        rows: npt.NDArray[np.intp],
        cols: npt.NDArray[np.intp],
        classes: npt.NDArray[np.intp],
        guard: int,
    ) -> None:
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
        keys, weights = np.unique(
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
        self._weights = weights
        self._starts = np.searchsorted(group_class, np.arange(len(self.totals)))
        self.groups = len(keys)

    def left(self, chosen: Chosen) -> npt.NDArray[np.int64]:
        """Count what each choice (n, block) leaves of each class: (n, class)."""
        squares = chosen.reshape(-1, *self.grid)
        sums = np.zeros((len(squares), self.grid[0] + 1, self.grid[1] + 1), dtype=np.int32)
        np.cumsum(squares, axis=1, out=sums[:, 1:, 1:])
        np.cumsum(sums[:, 1:, 1:], axis=2, out=sums[:, 1:, 1:])
        flat = sums.reshape(len(squares), -1)
        plus, also, minus, less = (flat[:, corner] for corner in self._corners)
        free = plus + also == minus + less
        return np.add.reduceat(free * self._weights, self._starts, axis=1)

    def taken(self, chosen: Chosen) -> npt.NDArray[np.float64]:
        """Count what each choice (n, block) takes of each class: (n, class)."""
        return np.asarray((self._per_block @ chosen.T.astype(np.float32)).T)

    def pixels(self, chosen: Chosen) -> Chosen:
        """Return the labelled pixels (y, x) of one choice (block,) of blocks."""
        squares = chosen.reshape(self.grid)
        spread = squares.repeat(self.size, axis=0).repeat(self.size, axis=1)
        (top, left), (bottom, right) = self.origin, self.shape
        return spread[top:bottom, left:right] & (self.label_map > 0)


@dataclass(frozen=True)
class _Wish:
    """What a choice of blocks should come close to."""

    share: float
    """Share of the pixels to take."""
    untaken: float
    """Cost of a class of which nothing is taken."""
    unleft: float
    """Cost of a class of which nothing is left."""
    whole: float = 10.0
    """Cost of another share of all pixels than that."""
    least: float = 0.0
    """What a swap must save."""

    @classmethod
    def of(cls, blocks: Whole, share: float, rest_matters: bool) -> "_Wish":
        """Wish for whatever is drawn.

        Strata give their shares as they are drawn: one that lies in one piece must
        not cost the others, and swaps that only even out the shares would lead
        every seed to the same few choices.
        """
        costs = {"untaken": 2.0, "unleft": 4.0 if rest_matters else 1.5}
        if blocks.strata.any():
            return cls(share, **costs, whole=0.0, least=0.3)
        return cls(share, **costs)

    def cost(self, blocks: Whole, chosen: Chosen) -> Cost:
        """Judge choices (n, block): missing classes first, then the shares."""
        taken, left = blocks.taken(chosen), blocks.left(chosen)
        missing = (taken == 0) @ np.full(taken.shape[1], self.untaken)
        missing = missing + (left == 0) @ np.full(taken.shape[1], self.unleft)
        uneven = np.minimum((taken / (self.share * blocks.totals) - 1) ** 2, 1)
        lost = 1 - left / ((1 - self.share) * blocks.totals)
        whole = taken.sum(axis=1) / (self.share * blocks.totals.sum()) - 1
        return np.asarray(
            missing
            + uneven.mean(axis=1)
            + _LOST * np.maximum(lost, 0).mean(axis=1)
            + self.whole * whole**2
        )


def draw_whole(
    cuts: Iterator[Land],
    share: float,
    rng: np.random.Generator,
    *,
    rest_matters: bool = False,
) -> tuple[Land, Chosen]:
    """Choose blocks or fields with about a share of the pixels, from the best of some cuts.

    Every cut is screened with random draws and a few rounds of swaps; the best
    is polished.  Classes on both sides come first, then equal shares of every
    class, then pixels left.

    Parameters
    ----------
    cuts : iterator of Blocks, or of fields
        The same labels cut at different origins; only as many are looked at as
        the work allows.
    share : float
        Share of the labelled pixels to take.
    rng : numpy Generator
        Source of the draw.
    rest_matters : bool
        Whether a class that is only left is better than one that is only taken.

    Returns
    -------
    The best cut, and which of its places are chosen: (place,).
    """
    best: tuple[float, Land, Chosen] | None = None
    work = 0.0
    for blocks in cuts:
        wish = _Wish.of(blocks, share, rest_matters)
        cost, chosen = _screened(blocks, wish, rng)
        if best is None or cost < best[0]:
            best = cost, blocks, chosen
        work += blocks.groups * (_STARTS + _SCREENING * _PROPOSALS)
        if work > _WORK / 2:
            break
    if best is None:
        raise ValueError("At least one cut is needed to draw blocks from.")
    cost, blocks, chosen = best
    rounds = int(min(_POLISHING, _WORK / 2 / (_PROPOSALS * blocks.groups)))
    return blocks, _improved(blocks, wish, (cost, chosen), rounds, rng)[1]


def _screened(blocks: Whole, wish: _Wish, rng: np.random.Generator) -> tuple[float, Chosen]:
    """Take the best of some random draws and improve it a little."""
    starts = _drawn(blocks, wish.share, rng)
    costs = wish.cost(blocks, starts)
    start = float(costs.min()), starts[costs.argmin()]
    return _improved(blocks, wish, start, _SCREENING, rng)


def _improved(
    blocks: Whole,
    wish: _Wish,
    start: tuple[float, Chosen],
    rounds: int,
    rng: np.random.Generator,
) -> tuple[float, Chosen]:
    """Take, round by round, the best of some random swaps where it is better."""
    cost, best = start
    for _ in range(rounds):
        tries = _changed(blocks, best, rng)
        costs = wish.cost(blocks, tries)
        if costs.min() < cost - wish.least:
            cost, best = float(costs.min()), tries[costs.argmin()]
    return cost, best


def _drawn(blocks: Whole, share: float, rng: np.random.Generator) -> Chosen:
    """Draw items until about a share of each stratum's pixels is taken, many times.

    A stratum keeps an item back where it has two.
    """
    drawn = np.zeros((_STARTS, blocks.places), dtype=bool)
    for stratum in np.unique(blocks.strata):
        items = np.flatnonzero(blocks.strata == stratum)
        orders = rng.permuted(np.tile(items, (_STARTS, 1)), axis=1)
        reached = blocks.sizes[orders].cumsum(axis=1)
        enough = np.abs(reached - share * reached[0, -1]).argmin(axis=1) + 1
        enough = np.minimum(enough, max(len(items) - 1, 1))
        early = np.arange(len(items)) < enough[:, None]
        drawn[np.nonzero(early)[0], blocks.labelled[orders[early]]] = True
    return drawn


def _changed(blocks: Whole, chosen: Chosen, rng: np.random.Generator) -> Chosen:
    """Swap a random chosen block for another, or only add or drop one, many times."""
    changed = np.tile(chosen, (_PROPOSALS, 1))
    inside = blocks.labelled[chosen[blocks.labelled]]
    outside = blocks.labelled[~chosen[blocks.labelled]]
    what, each = rng.integers(4, size=_PROPOSALS), np.arange(_PROPOSALS)
    joining = rng.choice(outside, _PROPOSALS)
    leaving = rng.choice(inside, _PROPOSALS)
    adds = (what != 0) & ((what != 1) | (len(outside) > 1))
    drops = (what != 1) & ((what != 0) | (len(inside) > 1))
    changed[each[adds], joining[adds]] = True
    changed[each[drops], leaving[drops]] = False
    return changed


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BlockSplit:
    """Train on whole square blocks and test on the others, a guard band apart.

    Why it exists: pixels of one field resemble each other, and windows of
    neighbours overlap, so a test beside the training pixels flatters the
    classifier.  Whole blocks keep most fields on one side (Nalepa et al. 2019),
    and a guard band of window − 1 pixels leaves no pixel that a training and a
    test window share; one of window // 2 leaves no training centre in a test
    window.

    The image is cut into squares at some seeded origins.  For each, seeded
    draws give whole blocks to the training part until about ``train`` of the
    labelled pixels lie in them; the best is improved by swaps so that as many
    classes as possible stand on both sides and each class gives about that
    share (``settings["origin"]`` keeps the row and column where the first
    square begins).  Labelled pixels of other blocks are tested if they are
    farther than ``guard`` pixels (Chebyshev) from every labelled pixel of the
    drawn blocks; those in between are the guard.

    Validation takes whole blocks out of the drawn ones in the same manner, and
    training pixels within ``guard`` of them join the guard.  The test pixels
    are the same with and without validation.

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

    def __post_init__(self) -> None:
        """Refuse sizes, shares and guards that no image could give."""
        if self.size < 1:
            raise SplitError(f"A block must be at least 1 pixel wide, got {self.size}.")
        if not 0 < self.train < 1:
            raise SplitError(
                "A block split trains on a share of the labelled pixels between 0 and "
                f"1, got {self.train}; use 0.25."
            )
        check_guard(self.guard)
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        SplitError
            If the labelled pixels lie in one block, or the guard leaves no test
            pixel; the largest guard that leaves some is then named.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        guard = guard_width(self.guard, window)
        cut, drawn, test = self._draw(label_map, guard, seed)
        if not test.any():
            raise too_wide(
                lambda width: bool(self._draw(label_map, width, seed)[2].any()),
                guard,
                f"blocks of {self.size}",
                label_map.shape,
            )
        return apart(
            label_map,
            drawn,
            self._validation(cut, drawn, guard, seed),
            guard,
            kind="blocks",
            seed=seed,
            settings=asdict(self) | {"guard": guard, "origin": [-by for by in cut.origin]},
            window=window,
            notes=guard_notes(guard, window),
        )

    def _draw(
        self, label_map: npt.NDArray[np.integer], guard: int, seed: int
    ) -> tuple[Blocks, Mask, Mask]:
        """Draw blocks to train on: the cut, their labelled pixels, those left to test."""
        rng = np.random.default_rng([seed, 0])
        cuts = Blocks.cuts(label_map, self.size, guard, rng)
        first = next(cuts, None)
        if first is None:
            raise SplitError(
                f"All labelled pixels lie in one block of {self.size} × {self.size} "
                "pixels; use smaller blocks."
            )
        blocks, chosen = draw_whole(chain([first], cuts), self.train, rng)
        drawn = blocks.pixels(chosen)
        return blocks, drawn, (label_map > 0) & ~drawn & ~near(drawn, guard)

    def _validation(self, cut: Blocks, drawn: Mask, guard: int, seed: int) -> Mask:
        """Take whole blocks for validation out of the drawn ones."""
        if self.validation == 0:
            return np.zeros_like(drawn)
        inner = Blocks(np.where(drawn, cut.label_map, 0), self.size, guard, cut.origin)
        if inner.count < 2:
            raise SplitError(
                f"A validation share of {self.validation} was asked for, but only one "
                f"block of {self.size} × {self.size} pixels was drawn for training; "
                "use smaller blocks or validation: 0."
            )
        rng = np.random.default_rng([seed, 1])
        _, chosen = draw_whole(iter([inner]), self.validation, rng, rest_matters=True)
        return inner.pixels(chosen)
