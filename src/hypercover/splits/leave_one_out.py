"""Splits for few labels: every shape that can be spared is held out once."""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from hypercover.errors import SplitError, counted
from hypercover.scene.samples import Samples
from hypercover.splits.folds import clusters
from hypercover.splits.guard import Guard, check_guard, guard_notes, guard_width
from hypercover.splits.kfold import FoldedSplit
from hypercover.splits.split import Split, check_labels

__all__ = ["LeaveOneOutSplit", "Outlook"]

Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outlook:
    """What of some labels can be held out, shape by shape."""

    shapes: dict[int, int]
    """Shapes that are held out, by class code."""
    folds: int
    """Folds that hold out any."""

    @property
    def enough(self) -> bool:
        """Whether a figure can be given: of one class alone it would mean nothing."""
        return len(self.shapes) > 1


@dataclass(frozen=True)
class LeaveOneOutSplit(FoldedSplit["_Shapes"]):
    """Hold out one shape after another, with a buffer around it.

    Why it exists: a few points or polygons cannot be parted into land to train and
    land to test without losing whole classes.  Each shape, a connected set of pixels
    of one class (corners included), is tested by a classifier that was trained on all
    the others, except the labelled pixels within ``guard`` pixels (Chebyshev) of it
    (spatial leave-one-out, Le Rest et al. 2014).  The accuracy is that of all answers
    together.

    A shape is held out only where every class keeps pixels to train on beyond the
    buffer: no figure is that of a classifier that lacks a class.  The only shape of a
    class therefore always trains, and that class has no accuracy.

    With fewer folds than shapes to hold out, several are held out at a time.

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
    """Pixels between a shape that is held out and what trains; auto = window − 1."""

    def __post_init__(self) -> None:
        """Refuse settings that no image could give."""
        if self.folds < 2:
            raise SplitError(f"Leave-one-out needs at least 2 folds, got {self.folds}.")
        check_guard(self.guard)

    def outlook(
        self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1
    ) -> "Outlook":
        """Say how many shapes of a label map (y, x) would be held out, and in how many folds.

        Examples
        --------
        >>> labels = np.array([[1, 0, 2, 0, 1, 0, 2, 0, 3]])
        >>> LeaveOneOutSplit(folds=10, guard=1).outlook(labels)
        Outlook(shapes={1: 2, 2: 2}, folds=4)
        """
        guard = guard_width(self.guard, window)
        return _Shapes(Samples.of(check_labels(labels)), guard, self.folds, seed).outlook

    def _dealt(
        self, label_map: npt.NDArray[np.integer], seed: int, window: int
    ) -> "_Shapes":
        """Deal the shapes that can be held out to the folds."""
        guard = guard_width(self.guard, window)
        shapes = _Shapes(Samples.of(label_map), guard, self.folds, seed)
        found = shapes.outlook
        if not found.enough:
            raise SplitError(
                "Too few labels to judge a map by: shapes of at least two classes must be "
                f"left out one after another, {guard} pixels from what trains, without "
                f"another class losing all its pixels, and those of {len(found.shapes)} can "
                "be; label more shapes of each class, or train on all of them and test none "
                "(kind: none)."
            )
        if found.folds < self.folds:
            raise SplitError(
                f"There are {counted(found.folds, 'shape')} to leave out one after another, "
                f"and {self.folds} folds were asked for; set folds to {found.folds}."
            )
        return shapes

    def _split(
        self,
        label_map: npt.NDArray[np.integer],
        dealt: "_Shapes",
        number: int,
        *,
        seed: int,
        window: int,
    ) -> Split:
        """Make the split that tests the shapes of one fold."""
        samples, held = dealt.samples, dealt.held[number]
        test, lost = dealt.tested(held), dealt.lost(held)

        def mask(which: Mask) -> Mask:
            made = np.zeros(label_map.shape, dtype=bool)
            made[samples.rows[which], samples.cols[which]] = True
            return made

        return Split.from_parts(
            train=mask(~lost),
            test=mask(test),
            guard=mask(lost & ~test),
            kind="leave-one-out",
            seed=seed,
            settings=asdict(self) | {"guard": dealt.guard, "fold": number},
            window=window,
            notes=(*dealt.notes(), *guard_notes(dealt.guard, window)),
        )


@dataclass(frozen=True, eq=False)
class _Shapes:
    """The shapes of some labels, dealt to folds, and what is left to train on without some."""

    samples: Samples
    guard: int
    folds: int
    seed: int

    @cached_property
    def numbers(self) -> Positions:
        """Number of the shape of each sample (n,), from 0."""
        return clusters(self.samples, 1)

    @cached_property
    def codes(self) -> npt.NDArray[np.int64]:
        """Class of each shape."""
        _, first = np.unique(self.numbers, return_index=True)
        return self.samples.labels[first]

    @cached_property
    def near(self) -> list[Positions]:
        """Samples that holding out each shape takes from training: its own and the buffer."""
        places = np.column_stack((self.samples.rows, self.samples.cols))
        tree = KDTree(places)
        found = []
        for shape in range(len(self.codes)):
            own = places[self.numbers == shape]
            hits = tree.query_ball_point(own, self.guard + 0.5, p=np.inf)
            found.append(np.unique(np.concatenate(hits)).astype(np.intp))
        return found

    def tested(self, held: list[int]) -> Mask:
        """Tell which samples (n,) lie in some shapes."""
        return np.isin(self.numbers, held)

    def lost(self, held: list[int]) -> Mask:
        """Tell which samples (n,) do not train where some shapes are held out."""
        mask = np.zeros(len(self.samples), dtype=bool)
        for shape in held:
            mask[self.near[shape]] = True
        return mask

    def keeps_all(self, held: list[int]) -> bool:
        """Tell whether every class keeps samples to train on."""
        kept = np.unique(self.samples.labels[~self.lost(held)])
        return len(kept) == len(np.unique(self.samples.labels))

    @cached_property
    def held(self) -> list[list[int]]:
        """Shapes that each fold holds out, of those that can be, dealt class by class.

        Each goes to the emptiest fold in which all classes are still trained.
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
    def outlook(self) -> Outlook:
        """How many shapes are held out."""
        held = [shape for one in self.held for shape in one]
        codes, counts = np.unique(self.codes[held], return_counts=True)
        shapes = dict(zip(codes.tolist(), counts.tolist(), strict=True))
        return Outlook(shapes, sum(map(bool, self.held)))

    def notes(self) -> tuple[str, ...]:
        """Say how many shapes are held out, and which classes have none that can be."""
        spared = sum(map(len, self.held))
        left = len(self.codes) - spared
        said = [
            f"The labels lie in {counted(len(self.codes), 'shape')}; {spared} of them are "
            f"held out once, more than {self.guard} pixels from what trains"
            + (
                f", and {left} always {'trains' if left == 1 else 'train'}, as without "
                f"{'it' if left == 1 else 'them'} a class would have no training pixel."
                if left
                else "."
            )
        ]
        lacking = sorted(set(self.codes.tolist()) - self.outlook.shapes.keys())
        if lacking:
            named = ", ".join(map(str, lacking))
            one = len(lacking) == 1
            said.append(
                f"{'Class' if one else 'Classes'} {named}: too few shapes to judge; "
                f"{'it is' if one else 'they are'} mapped, and no accuracy is given."
            )
        return tuple(said)
