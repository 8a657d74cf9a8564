"""Saved splits: shared as files, read again, and verified before they are used."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.samples.guard import guard_notes
from hypercover.samples.split import PARTS, Split, check_labels, check_learnable
from hypercover.samples.window_size import check_window

__all__ = ["SavedSplit", "saved_at"]


def saved_at(path: str | Path) -> tuple[Path, str]:
    """Return folder and stem of a saved split: a ``.json`` or the folder of a run."""
    file = Path(path)
    return (file, "split") if file.is_dir() else (file.parent, file.stem)


@dataclass(frozen=True)
class SavedSplit:
    """Take the parts of a split that was saved before, by anyone.

    Why it exists: two results can be compared where their test pixels are the
    same.  ``split.tif`` and ``split.json`` carry a split from one run to
    another; size, SHA-256 and, where they were kept, the counts of each class
    are verified first.

    Parameters
    ----------
    path : path
        A ``split.json`` beside its ``.tif``, or the folder of a run.
    sha256 : str, optional
        Digest that the split must have, as ``metrics.json`` of a run tells it.
    """

    path: str | Path
    """The ``.json`` file, or the folder of a run."""
    sha256: str | None = None
    """Digest that the split must have."""

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Return the saved parts for a label map (y, x); the seed changes nothing.

        Raises
        ------
        SplitError
            If the files are damaged, the digest is another, or the labels do
            not fit the split.
        """
        from hypercover.samples.split_files import read_counts

        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        folder, stem = saved_at(self.path)
        split = Split.load(folder, stem)
        if self.sha256 not in (None, split.digest):
            raise SplitError(
                f"The split {self.path} was to have the SHA-256 {self.sha256}, but has "
                f"{split.digest}; it is another split."
            )
        _check_labels(split, read_counts(folder, stem), label_map)
        guard = split.settings.get("guard")
        narrow = guard_notes(guard, window) if isinstance(guard, int) else ()
        return check_learnable(
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
    """Say of one fold of a cross-validation that it is one."""
    if split.kind not in ("kfold", "leave-one-out"):
        return ()
    number, folds = (split.settings.get(key) for key in ("fold", "folds"))
    which = number + 1 if isinstance(number, int) else "one"
    return (
        f"The saved split is fold {which} of {folds} of a cross-validation: only what it "
        "holds out is tested.",
    )


def _check_labels(
    split: Split, counts: dict[str, dict[int, int]], label_map: npt.NDArray[np.int64]
) -> None:
    """Refuse labels that the split was not made for."""
    for part in PARTS[1:]:
        now = {code: n for code, n in split.per_class(part, label_map).items() if n}
        kept = counts.get(part)
        if kept is not None and kept != now:
            code = min(code for code in {*kept, *now} if kept.get(code) != now.get(code))
            raise SplitError(
                f"The saved split does not fit the labels: its {part} part had "
                f"{kept.get(code, 0)} pixels of class {code}, these labels give it "
                f"{now.get(code, 0)}; use the labels it was made for."
            )
    bare = np.count_nonzero((split.parts > 0) & (label_map == 0))
    if bare:
        raise SplitError(
            f"The saved split does not fit the labels: {bare} of its pixels have no label; "
            "use the labels it was made for."
        )
