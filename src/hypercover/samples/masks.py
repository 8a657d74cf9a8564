"""Splits by masks: training and test pixels marked by somebody else."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.samples.random import check_validation, draw_validation
from hypercover.samples.split import (
    Split,
    check_labels,
    check_learnable,
    prove_disjoint,
)
from hypercover.samples.window_size import check_window

__all__ = ["MaskSplit"]


@dataclass(frozen=True, eq=False)
class MaskSplit:
    """Take the training and test pixels from maps in which nonzero means in.

    Why it exists: published fixed splits come as maps of training and test
    labels, often with codes of their own.  Only where they are nonzero counts;
    the classes come from the labels.  A marked pixel without a label cannot be
    used; it is left out and a note says how many there are.

    Validation pixels are drawn at random, class by class, from the training
    mask: such masks carry no fields or blocks to keep together.

    Parameters
    ----------
    train : array (y, x)
        Training pixels: nonzero = in.
    test : array (y, x), optional
        Test pixels; every other labelled pixel when not given.
    validation : float from 0 to below 1
        Share of the training pixels of each class set aside for validation.
    notes : tuple of str
        What was found when the masks were read; it stands among those of the split.

    Examples
    --------
    >>> split = MaskSplit(train=[[9, 9, 0, 0]]).split([[1, 2, 1, 0]])
    >>> split.parts.tolist()
    [[1, 1, 3, 0]]
    """

    train: npt.ArrayLike
    """Training pixels (y, x): nonzero = in."""
    test: npt.ArrayLike | None = None
    """Test pixels (y, x): nonzero = in; None = all other labelled pixels."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""
    notes: tuple[str, ...] = ()
    """What was found when the masks were read."""

    def __post_init__(self) -> None:
        """Refuse a validation share out of range."""
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x); the seed only draws the validation pixels.

        Raises
        ------
        SplitError
            If a mask has another size than the labels, the masks share a
            labelled pixel, or fewer than two classes can be trained.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        labelled = label_map > 0
        marked, note = _marked(self.train, "train", labelled)
        test, more = (
            (labelled & ~marked, ())
            if self.test is None
            else _marked(self.test, "test", labelled)
        )
        prove_disjoint({"train": marked, "test": test})
        rule = "rest" if self.test is None else "mask"
        rng = np.random.default_rng(seed)
        validation = draw_validation(label_map, marked, self.validation, rng)
        split = Split.from_parts(
            train=marked & ~validation,
            validation=validation,
            test=test,
            kind="masks",
            seed=seed,
            settings={"test": rule, "validation": self.validation},
            window=window,
            notes=self.notes + note + more,
        )
        return check_learnable(split, label_map)


def _marked(
    mask: npt.ArrayLike, part: str, labelled: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], tuple[str, ...]]:
    """Return the labelled pixels a mask marks, and a note on the others."""
    values = np.asarray(mask)
    if values.shape != labelled.shape:
        raise SplitError(
            f"The {part} mask is {' × '.join(map(str, values.shape))} pixels, the labels "
            f"are {labelled.shape[0]} × {labelled.shape[1]}; give a mask of that size."
        )
    marked = np.nan_to_num(values) != 0
    bare = int(np.count_nonzero(marked & ~labelled))
    if not bare:
        return marked, ()
    total = int(np.count_nonzero(marked))
    note = f"{bare} of the {total} pixels of the {part} mask have no label: left out."
    return marked & labelled, (note,)
