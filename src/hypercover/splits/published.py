"""Published splits by name, recognised by the content of their maps."""

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
from hypercover.types import Codes, Ints, Mask


@dataclass(frozen=True)
class _PublishedMaps:
    """Maps and known errors of a published split."""

    labels: str
    """Beginning of the title of the label map it was made with."""
    train: str
    """Title of the training map."""
    test: str | None = None
    """Title of the test map; None = all other labelled pixels."""
    mistaken: tuple[tuple[int, int, int], ...] = ()
    """Runs (row, first column, last column) of training pixels with a wrong class."""
    note: str = ""
    """How papers differ."""


PUBLISHED = {
    "indian-pines-fixed": _PublishedMaps(
        labels="Indian Pines Site 3",
        train="Indian Pines fixed training",
        test="Indian Pines fixed test",
    ),
    "indian-pines-dase": _PublishedMaps(
        labels="Indian Pines Site 3",
        train="Indian Pines spatially disjoint",
        mistaken=((76, 108, 111), (77, 108, 111), (78, 110, 111)),
        note="Papers that keep the mistaken pixels have 5,689 training pixels and no test "
        "pixels of Grass-pasture-mowed.",
    ),
    "pavia-fixed": _PublishedMaps(
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
    """Take the training and test pixels of a published split.

    Accuracies are comparable with published ones only on the same pixels, and the
    published maps have pitfalls: their own class codes, pixels of the wrong class,
    pixels without a label.  The maps are recognised by the SHA-256 of their codes in
    any file.  Classes are taken from the labels in use, and ``notes`` count the pixels
    that disagree with them.

    None of these splits has a guard; see the leak audit.

    Parameters
    ----------
    name : str
        ``indian-pines-fixed`` (Hong et al. 2021: 695 training and 9,671 test
        pixels of the Site 3 labels), ``indian-pines-dase`` (IEEE GRSS DASE:
        5,679 and 4,687, after ten mistaken training pixels have been moved to
        the test), or ``pavia-fixed`` (2,774 and 40,002, without the 1,147
        training pixels outside the ground truth).
    path : path
        A folder with the maps, or a file with all of them.
    validation : float from 0 to below 1
        Share of the training pixels of each class set aside for validation, at
        random.

    Examples
    --------
    >>> splitter = PublishedSplit("pavia-fixed", "data/pavia")
    >>> split = splitter.split(scene.labels)  # doctest: +SKIP
    >>> split.count("train"), split.count("test")  # doctest: +SKIP
    (2774, 40002)
    """

    name: str
    """Name of the split."""
    path: str | Path
    """A folder with the maps, or a file with all of them."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    def __post_init__(self) -> None:
        """Check name and validation share."""
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
            If a map is missing.
        SplitError
            If the labels have another size than the maps.
        """
        label_map = check_labels(labels)
        known = PUBLISHED[self.name]
        maps = {
            part: known_map(title)
            for part, title in (("train", known.train), ("test", known.test))
            if title is not None
        }
        _check_size(self.name, maps["train"], label_map)
        read = find_label_maps(self.path, maps.values())
        codes = {part: _translated(read[m.title], m, known) for part, m in maps.items()}
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


def _translated(codes: Codes, of: KnownMap, known: _PublishedMaps) -> Ints:
    """Translate the codes (y, x) of a map to those of the ground truth, by class name."""
    truth = {name: code for code, name in known_map(known.labels).names.items()}
    table = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    for code, name in of.names.items():
        table[code] = truth[name]
    return np.asarray(table[codes])


def _moved(train: Codes, label_map: Codes, known: _PublishedMaps) -> Mask:
    """Return the training pixels (y, x) known to be mistaken that disagree with the labels."""
    marked = np.zeros(label_map.shape, dtype=bool)
    for row, first, last in known.mistaken:
        marked[row, first : last + 1] = True
    return np.asarray(marked & (label_map > 0) & (train > 0) & (train != label_map))


def _moved_note(moved: Mask) -> tuple[str, ...]:
    count = int(np.count_nonzero(moved))
    if not count:
        return ()
    return (
        f"{counted(count, 'training pixel')} that the map gives to another class than the "
        "labels were moved to the test.",
    )


def _disagreements(
    codes: dict[str, Ints], label_map: Codes, known: _PublishedMaps
) -> tuple[str, ...]:
    """Return notes on pixels whose class differs in the labels in use."""
    notes = []
    in_use, made_with = recognise_labels(label_map), known_map(known.labels)
    if in_use is None or in_use.title != made_with.title:
        title = "not a known map" if in_use is None else in_use.title
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
