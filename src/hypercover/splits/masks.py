"""Splits from masks and from saved split files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.scene.samples import check_window
from hypercover.splits.guard import guard_notes
from hypercover.splits.random_split import check_validation, draw_validation
from hypercover.splits.split import (
    PARTS,
    Split,
    check_disjoint,
    check_labels,
    check_trainable,
    read_counts,
)
from hypercover.types import Ints, Mask


@dataclass(frozen=True, eq=False)
class MaskSplit:
    """Take the nonzero pixels of masks as training and test pixels.

    Published fixed splits come as maps of training and test labels, often with their
    own codes.  Classes are taken from the labels.  Pixels of a mask without a label
    are left out; a note gives their number.

    Validation pixels are drawn at random, class by class, from the training mask.

    Parameters
    ----------
    train : array (y, x)
        Training pixels: nonzero.
    test : array (y, x), optional
        Test pixels: nonzero; all other labelled pixels by default.
    validation : float from 0 to below 1
        Share of the training pixels of each class set aside for validation.
    notes : tuple of str
        Remarks on the masks, added to those of the split.

    Examples
    --------
    >>> split = MaskSplit(train=[[9, 9, 0, 0]]).split([[1, 2, 1, 0]])
    >>> split.parts.tolist()
    [[1, 1, 3, 0]]
    """

    train: npt.ArrayLike
    """Training pixels (y, x): nonzero."""
    test: npt.ArrayLike | None = None
    """Test pixels (y, x): nonzero; None = all other labelled pixels."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""
    notes: tuple[str, ...] = ()
    """Remarks on the masks."""

    def __post_init__(self) -> None:
        """Check the validation share."""
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x); the seed only draws the validation pixels.

        Raises
        ------
        SplitError
            If a mask has another size than the labels, the masks share a labelled
            pixel, or fewer than two classes have training pixels.
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
        check_disjoint({"train": marked, "test": test})
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
        return check_trainable(split, label_map)


def _marked(mask: npt.ArrayLike, part: str, labelled: Mask) -> tuple[Mask, tuple[str, ...]]:
    """Return the labelled pixels of a mask, and a note on the others."""
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
    note = (
        f"{bare} of the {total} pixels of the {part} mask have no label and are left out."
    )
    return marked & labelled, (note,)


def saved_split_path(path: str | Path) -> tuple[Path, str]:
    """Return folder and stem of a saved split: a ``.json`` or the folder of a run."""
    file = Path(path)
    return (file, "split") if file.is_dir() else (file.parent, file.stem)


@dataclass(frozen=True)
class SavedSplit:
    """Take the parts of a saved split, so that results have the same test pixels.

    Size, SHA-256 and, if they were saved, the counts of each class are verified.

    Parameters
    ----------
    path : path
        A ``split.json`` with its ``.tif`` next to it, or the folder of a run.
    sha256 : str, optional
        Expected digest, as in ``metrics.json`` of a run.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> labels = np.array([[1, 2, 1, 2]])
    >>> with TemporaryDirectory() as folder:
    ...     Split.from_parts(train=[[1, 1, 0, 0]], test=[[0, 0, 1, 1]]).save(folder)
    ...     SavedSplit(folder).split(labels).parts.tolist()
    [[1, 1, 3, 3]]
    """

    path: str | Path
    """The ``.json`` file, or the folder of a run."""
    sha256: str | None = None
    """Expected digest."""

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Return the saved parts for a label map (y, x); the seed changes nothing.

        Raises
        ------
        SplitError
            If the files are damaged, the digest differs, or the labels do not fit
            the split.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        folder, stem = saved_split_path(self.path)
        split = Split.load(folder, stem)
        if self.sha256 not in (None, split.digest):
            raise SplitError(
                f"The split {self.path} should have the SHA-256 {self.sha256}, but has "
                f"{split.digest}; give the file of that split."
            )
        _check_labels(split, read_counts(folder, stem), label_map)
        guard = split.settings.get("guard")
        narrow = guard_notes(guard, window) if isinstance(guard, int) else ()
        return check_trainable(
            replace(
                split,
                kind="saved",
                seed=seed,
                settings={"kind": split.kind, **split.settings, "seed": split.seed},
                window=window,
                notes=tuple(dict.fromkeys((*split.notes, *narrow, *_fold_notes(split)))),
            ),
            label_map,
        )


def _fold_notes(split: Split) -> tuple[str, ...]:
    """Return a note if the split is one fold of a cross-validation."""
    if split.kind not in ("kfold", "leave-one-out"):
        return ()
    number, folds = (split.settings.get(key) for key in ("fold", "folds"))
    which = number + 1 if isinstance(number, int) else "one"
    return (
        f"The saved split is fold {which} of {folds} of a cross-validation; only this fold is "
        "tested.",
    )


def _check_labels(split: Split, counts: dict[str, dict[int, int]], label_map: Ints) -> None:
    """Check that the split was made for the labels."""
    for part in PARTS[1:]:
        now = {code: n for code, n in split.per_class(part, label_map).items() if n}
        saved = counts.get(part)
        if saved is not None and saved != now:
            code = min(code for code in {*saved, *now} if saved.get(code) != now.get(code))
            raise SplitError(
                f"The saved split does not fit the labels: its {part} part had "
                f"{saved.get(code, 0)} pixels of class {code}, these labels give it "
                f"{now.get(code, 0)}; use the labels it was made for."
            )
    bare = np.count_nonzero((split.parts > 0) & (label_map == 0))
    if bare:
        raise SplitError(
            f"The saved split does not fit the labels: {bare} of its pixels have no label; "
            "use the labels it was made for."
        )
