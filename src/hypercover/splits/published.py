"""Published splits by name: their maps are found by content, their defects are said."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError, counted
from hypercover.scene.datasets.catalog import KnownMap, known_map, recognise_labels
from hypercover.scene.datasets.discovery import find_label_maps
from hypercover.splits.masks import MaskSplit
from hypercover.splits.random_split import check_validation
from hypercover.splits.split import Split, check_labels

__all__ = ["PUBLISHED", "PublishedSplit"]

Codes = npt.NDArray[np.integer]


@dataclass(frozen=True)
class _Known:
    """What is known of a published split."""

    labels: str
    """Title of the label map that it was made with, as it begins."""
    train: str
    """Title of the training map."""
    test: str | None = None
    """Title of the test map; None = all other labelled pixels."""
    mistaken: tuple[tuple[int, int, int], ...] = ()
    """Runs (row, first column, last column) of training pixels of another class."""
    note: str = ""
    """What papers do differently."""


PUBLISHED = {
    "indian-pines-fixed": _Known(
        labels="Indian Pines Site 3",
        train="Indian Pines fixed training",
        test="Indian Pines fixed test",
    ),
    "indian-pines-dase": _Known(
        labels="Indian Pines Site 3",
        train="Indian Pines spatially disjoint",
        mistaken=((76, 108, 111), (77, 108, 111), (78, 110, 111)),
        note="Papers that leave the mistaken pixels in have 5,689 training pixels and no "
        "test pixel of Grass-pasture-mowed.",
    ),
    "pavia-fixed": _Known(
        labels="University of Pavia ground",
        train="University of Pavia fixed training",
        test="University of Pavia fixed test",
        note="Papers that train on the pixels outside the ground truth have 3,921 training "
        "pixels; some test on all 42,776 labelled pixels, training pixels included.",
    ),
}
"""The published splits by name."""


@dataclass(frozen=True)
class PublishedSplit:
    """Take the training and test pixels that others have used.

    Why it exists: an accuracy can be set beside a published one only on the
    same pixels, and the published maps have traps: class codes of their own,
    pixels of the wrong class, pixels without a label.  The maps are known by
    the SHA-256 of their codes, whatever file they lie in; classes come from the
    labels in use, and what disagrees with these is counted in ``notes``.

    None of these splits keeps a guard; the leak audit says what that means.

    Parameters
    ----------
    name : str
        ``indian-pines-fixed`` (Hong et al. 2021: 695 training and 9,671 test
        pixels of the Site 3 labels), ``indian-pines-dase`` (IEEE GRSS DASE:
        5,679 and 4,687, after ten mistaken training pixels have been moved to
        the test), or ``pavia-fixed`` (2,774 and 40,002, without the 1,147
        training pixels that lie outside the ground truth).
    path : path
        A folder that holds the maps, or a file that holds all of them.
    validation : float from 0 to below 1
        Share of the training pixels of each class set aside for validation, at
        random.
    """

    name: str
    """Name of the split."""
    path: str | Path
    """A folder that holds the maps, or a file."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    def __post_init__(self) -> None:
        """Refuse a name that is not known and a validation share out of range."""
        if self.name not in PUBLISHED:
            raise SplitError(
                f"The published splits are {', '.join(PUBLISHED)}, got {self.name!r}."
            )
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x); the seed only draws the validation pixels.

        Raises
        ------
        LabelError
            If a map is not found.
        SplitError
            If the labels are of another size than the maps.
        """
        label_map = check_labels(labels)
        known = PUBLISHED[self.name]
        maps = {
            part: known_map(title)
            for part, title in (("train", known.train), ("test", known.test))
            if title is not None
        }
        _check_size(self.name, maps["train"], label_map)
        found = find_label_maps(self.path, maps.values())
        codes = {part: _translated(found[m.title], m, known) for part, m in maps.items()}
        moved = _moved(codes["train"], label_map, known)
        train = np.where(moved, 0, codes["train"])
        masks = MaskSplit(train, codes.get("test"), self.validation)
        split = masks.split(label_map, seed=seed, window=window)
        codes["train"] = train
        notes = (
            f"The published split {self.name}: {', '.join(m.title for m in maps.values())}.",
            *_moved_note(moved),
            *split.notes,
            *_disagreements(codes, label_map, known),
            *([known.note] if known.note else []),
        )
        settings = {
            "name": self.name,
            "validation": self.validation,
            "sha256": {part: m.sha256 for part, m in maps.items()},
        }
        return replace(split, kind="published", settings=settings, notes=notes)


def _check_size(name: str, known: KnownMap, label_map: Codes) -> None:
    if known.shape != label_map.shape:
        raise SplitError(
            f"The published split {name} is for {known.shape[0]} × {known.shape[1]} pixels, "
            f"the labels have {label_map.shape[0]} × {label_map.shape[1]}; use it with the "
            "scene it was made for."
        )


def _translated(codes: Codes, of: KnownMap, known: _Known) -> npt.NDArray[np.int64]:
    """Give the codes (y, x) of a map those of the ground truth, by the names of the classes."""
    truth = {name: code for code, name in known_map(known.labels).names.items()}
    table = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    for code, name in of.names.items():
        table[code] = truth[name]
    return np.asarray(table[codes])


def _moved(train: Codes, label_map: Codes, known: _Known) -> npt.NDArray[np.bool_]:
    """Mark the training pixels (y, x) known to be mistaken, where the labels say so."""
    marked = np.zeros(label_map.shape, dtype=bool)
    for row, first, last in known.mistaken:
        marked[row, first : last + 1] = True
    return np.asarray(marked & (label_map > 0) & (train > 0) & (train != label_map))


def _moved_note(moved: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    count = int(np.count_nonzero(moved))
    if not count:
        return ()
    return (
        f"{counted(count, 'training pixel')} that the map gives to another class than the "
        "labels were moved to the test.",
    )


def _disagreements(
    codes: dict[str, npt.NDArray[np.int64]], label_map: Codes, known: _Known
) -> tuple[str, ...]:
    """Count the marked pixels that the labels in use give to another class."""
    notes = []
    in_use, made_with = recognise_labels(label_map), known_map(known.labels)
    if in_use is None or in_use.title != made_with.title:
        title = "no map that is known" if in_use is None else in_use.title
        notes.append(
            f"The split was made with {made_with.title}; the labels in use are {title}."
        )
    for part, marked in codes.items():
        other = np.count_nonzero((marked > 0) & (label_map > 0) & (marked != label_map))
        if other:
            notes.append(
                f"{counted(int(other), 'pixel')} of the {part} map "
                f"{'has' if other == 1 else 'have'} another class in the labels in use, "
                "which count."
            )
    return tuple(notes)
