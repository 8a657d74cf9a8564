"""Spatial leave-one-out for few labels: shapes are held out one after another."""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from hypercover.errors import SplitError, counted
from hypercover.scene.samples import Samples
from hypercover.splits.folds import cluster_numbers
from hypercover.splits.guard import Guard, check_guard, guard_notes, guard_width
from hypercover.splits.kfold import FoldedSplit
from hypercover.splits.split import Split, check_labels
from hypercover.types import Codes, Indices, Ints, Mask


@dataclass(frozen=True)
class HeldOutShapes:
    """How many shapes of some labels can be held out."""

    shapes: dict[int, int]
    """Number of shapes held out, by class code."""
    folds: int
    """Folds that hold out at least one shape."""

    @property
    def enough(self) -> bool:
        """Whether an accuracy is meaningful: at least two classes are tested."""
        return len(self.shapes) > 1


@dataclass(frozen=True)
class LeaveOneOutSplit(FoldedSplit["_Shapes"]):
    """Hold out one shape after another, with a buffer around it.

    A few points or polygons cannot be divided into training and test areas without
    losing whole classes.  Each shape, a connected set of pixels of one class (corners
    included), is tested by a classifier trained on all others except the labelled
    pixels within ``guard`` pixels (Chebyshev) of it (spatial leave-one-out, Le Rest et
    al. 2014).  The accuracy is that of all predictions together.

    A shape is held out only if every class keeps training pixels beyond the buffer.
    The only shape of a class therefore always trains, and that class has no accuracy.

    With fewer folds than shapes, several are held out at a time.

    Parameters
    ----------
    folds : int
        Number of trainings, from 2; at most the number of shapes that can be held out.
    guard : int or "auto"
        Width of the buffer in pixels; "auto" is window − 1.

    References
    ----------
    Le Rest et al. (2014), Spatial leave-one-out cross-validation for variable
    selection in the presence of spatial autocorrelation, Global Ecology and
    Biogeography 23.

    Examples
    --------
    T train, o test, . neither; two points of class 1, two of class 2 and one of class 3:

    >>> labels = np.array([[1, 0, 2, 0, 1, 0, 2, 0, 3]])
    >>> splitter = LeaveOneOutSplit(folds=4, guard=1)
    >>> for split in splitter.splits(labels, seed=0):
    ...     print("".join(".T!o-"[part] for part in split.parts[0]))
    o.T.T.T.T
    T.T.o.T.T
    T.o.T.T.T
    T.T.T.o.T
    """

    folds: int = 10
    """Number of trainings."""
    guard: Guard = "auto"
    """Pixels between held-out shapes and training pixels; auto = window − 1."""

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.folds < 2:
            raise SplitError(f"Leave-one-out needs at least 2 folds, got {self.folds}.")
        check_guard(self.guard)

    def outlook(
        self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1
    ) -> "HeldOutShapes":
        """Return how many shapes of a label map (y, x) are held out, and in how many folds.

        Examples
        --------
        >>> labels = np.array([[1, 0, 2, 0, 1, 0, 2, 0, 3]])
        >>> LeaveOneOutSplit(folds=10, guard=1).outlook(labels)
        HeldOutShapes(shapes={1: 2, 2: 2}, folds=4)
        """
        guard = guard_width(self.guard, window)
        return _Shapes(Samples.of(check_labels(labels)), guard, self.folds, seed).outlook

    def _assign(self, label_map: Codes, seed: int, window: int) -> "_Shapes":
        """Assign the shapes that can be held out to the folds."""
        guard = guard_width(self.guard, window)
        shapes = _Shapes(Samples.of(label_map), guard, self.folds, seed)
        outlook = shapes.outlook
        if not outlook.enough:
            raise SplitError(
                "Too few labels to judge a map by: shapes of at least two classes must be held "
                f"out, {guard} pixels from the training pixels and without removing a whole "
                f"class, and those of {len(outlook.shapes)} can be; label more shapes of each "
                "class, or train on all of them and test none (kind: none)."
            )
        if outlook.folds < self.folds:
            raise SplitError(
                f"Only {counted(outlook.folds, 'shape')} can be held out, fewer than the "
                f"{self.folds} folds; set folds to {outlook.folds}."
            )
        return shapes

    def _split(
        self,
        label_map: Codes,
        assigned: "_Shapes",
        number: int,
        *,
        seed: int,
        window: int,
    ) -> Split:
        """Make the split that tests the shapes of one fold."""
        samples, held = assigned.samples, assigned.held[number]
        test, lost = assigned.tested(held), assigned.lost(held)

        def mask(which: Mask) -> Mask:
            pixels = np.zeros(label_map.shape, dtype=bool)
            pixels[samples.rows[which], samples.cols[which]] = True
            return pixels

        return Split.from_parts(
            train=mask(~lost),
            test=mask(test),
            guard=mask(lost & ~test),
            kind="leave-one-out",
            seed=seed,
            settings=asdict(self) | {"guard": assigned.guard, "fold": number},
            window=window,
            notes=(*assigned.notes(), *guard_notes(assigned.guard, window)),
        )


@dataclass(frozen=True, eq=False)
class _Shapes:
    """The shapes of some labels, assigned to folds, and what is left to train on without some."""

    samples: Samples
    guard: int
    folds: int
    seed: int

    @cached_property
    def numbers(self) -> Indices:
        """Number of the shape of each sample (n,), from 0."""
        return cluster_numbers(self.samples, 1)

    @cached_property
    def codes(self) -> Ints:
        """Class of each shape."""
        _, first = np.unique(self.numbers, return_index=True)
        return self.samples.labels[first]

    @cached_property
    def near(self) -> list[Indices]:
        """Samples of each shape and of the buffer around it, which do not train with it."""
        points = np.column_stack((self.samples.rows, self.samples.cols))
        tree = KDTree(points)
        near = []
        for shape in range(len(self.codes)):
            own = points[self.numbers == shape]
            hits = tree.query_ball_point(own, self.guard + 0.5, p=np.inf)
            near.append(np.unique(np.concatenate(hits)).astype(np.intp))
        return near

    def tested(self, held: list[int]) -> Mask:
        """Return which samples (n,) belong to some shapes."""
        return np.isin(self.numbers, held)

    def lost(self, held: list[int]) -> Mask:
        """Return which samples (n,) do not train when some shapes are held out."""
        mask = np.zeros(len(self.samples), dtype=bool)
        for shape in held:
            mask[self.near[shape]] = True
        return mask

    def keeps_all(self, held: list[int]) -> bool:
        """Return whether every class keeps training samples."""
        trained = np.unique(self.samples.labels[~self.lost(held)])
        return len(trained) == len(np.unique(self.samples.labels))

    @cached_property
    def held(self) -> list[list[int]]:
        """Shapes that each fold holds out, assigned class by class.

        Each goes to the emptiest fold in which all classes still have training samples.
        """
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(len(self.codes))
        order = order[np.argsort(self.codes[order], kind="stable")]
        held: list[list[int]] = [[] for _ in range(self.folds)]
        for shape in order.tolist():
            for one in sorted(held, key=len):
                if self.keeps_all([*one, shape]):
                    one.append(shape)
                    break
        return held

    @cached_property
    def outlook(self) -> HeldOutShapes:
        """How many shapes are held out."""
        held = [shape for one in self.held for shape in one]
        codes, counts = np.unique(self.codes[held], return_counts=True)
        shapes = dict(zip(codes.tolist(), counts.tolist(), strict=True))
        return HeldOutShapes(shapes, sum(map(bool, self.held)))

    def notes(self) -> tuple[str, ...]:
        """Return notes on the shapes held out, and on the classes without any."""
        total, held = len(self.codes), sum(map(len, self.held))
        notes = [
            f"The labels form {total} shapes; {held} are held out once, more than {self.guard} "
            f"pixels from the training pixels, and {total - held} always train."
        ]
        untested = sorted(set(self.codes.tolist()) - self.outlook.shapes.keys())
        if untested:
            notes.append(
                f"Class {', '.join(map(str, untested))}: too few shapes to judge; mapped without "
                "an accuracy."
            )
        return tuple(notes)
