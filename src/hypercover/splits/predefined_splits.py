"""Splits that are given: by masks, by saved files, or published."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from pydantic import TypeAdapter

from hypercover.errors import SplitError, counted
from hypercover.scene.data_tables import read_text
from hypercover.scene.datasets.catalog import known_map, recognise_labels
from hypercover.scene.datasets.discovery import find_label_maps
from hypercover.splits.random_split import draw_validation
from hypercover.splits.split import (
    PARTS,
    Split,
    check_disjoint,
    check_labels,
    check_trainable,
    check_validation,
    guard_notes,
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

    train: ArrayLike
    """Training pixels (y, x): nonzero."""
    test: ArrayLike | None = None
    """Test pixels (y, x): nonzero; None = all other labelled pixels."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""
    notes: tuple[str, ...] = ()
    """Remarks on the masks."""

    def __post_init__(self) -> None:
        """Check the validation share."""
        check_validation(self.validation)

    def split(self, labels: ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x); the seed only draws the validation pixels.

        Raises
        ------
        SplitError
            If a mask has another size than the labels, the masks share a labelled
            pixel, or fewer than two classes have training pixels.
        """
        label_map = check_labels(labels, window)
        labelled = label_map > 0
        marked, note = _marked(self.train, "train", labelled)
        rule, test, more = "rest", labelled & ~marked, ""
        if self.test is not None:
            rule, (test, more) = "mask", _marked(self.test, "test", labelled)
        check_disjoint({"train": marked, "test": test})
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
            notes=(*self.notes, *filter(None, (note, more))),
        )
        return check_trainable(split, label_map)


def _marked(mask: ArrayLike, part: str, labelled: Mask) -> tuple[Mask, str]:
    """Return the labelled pixels of a mask, and a note on the others if there are any."""
    values = np.asarray(mask)
    if values.shape != labelled.shape:
        raise SplitError(
            f"The {part} mask is {' × '.join(map(str, values.shape))} pixels, the labels "
            f"are {labelled.shape[0]} × {labelled.shape[1]}; give a mask of that size."
        )
    marked = np.nan_to_num(values) != 0
    total, bare = int(marked.sum()), int((marked & ~labelled).sum())
    note = (
        f"{bare} of the {total} pixels of the {part} mask have no label and are left out."
    )
    return marked & labelled, note if bare else ""


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

    def split(self, labels: ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Return the saved parts for a label map (y, x); the seed changes nothing.

        Raises
        ------
        SplitError
            If the files are damaged, the digest differs, or the labels do not fit
            the split.
        """
        label_map = check_labels(labels, window)
        folder, stem = saved_split_path(self.path)
        split = Split.load(folder, stem)
        if self.sha256 not in (None, split.digest):
            raise SplitError(
                f"The split {self.path} should have the SHA-256 {self.sha256}, but has "
                f"{split.digest}; give the file of that split."
            )
        _check_labels(split, read_counts(folder, stem), label_map)
        notes, guard = list(split.notes), split.settings.get("guard")
        if isinstance(guard, int):
            notes += guard_notes(guard, window)
        if split.kind in ("kfold", "leave-one-out"):
            number, folds = (split.settings.get(key) for key in ("fold", "folds"))
            which = number + 1 if isinstance(number, int) else "one"
            notes.append(
                f"The saved split is fold {which} of {folds} of a cross-validation; only this "
                "fold is tested."
            )
        saved = replace(
            split,
            kind="saved",
            seed=seed,
            settings={"kind": split.kind, **split.settings, "seed": split.seed},
            window=window,
            notes=tuple(dict.fromkeys(notes)),
        )
        return check_trainable(saved, label_map)


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


_PUBLISHED_MAPS = TypeAdapter(dict[str, _PublishedMaps])
PUBLISHED = _PUBLISHED_MAPS.validate_json(read_text("published-splits.json"))
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

    def split(self, labels: ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x); the seed only draws the validation pixels.

        Raises
        ------
        LabelError
            If a map is missing.
        SplitError
            If the labels have another size than the maps.
        """
        label_map = check_labels(labels)
        published = PUBLISHED[self.name]
        titles = {"train": published.train, "test": published.test}
        maps = {part: known_map(title) for part, title in titles.items() if title}
        rows, cols = maps["train"].shape
        if (rows, cols) != label_map.shape:
            raise SplitError(
                f"The published split {self.name} is for {rows} × {cols} pixels, the labels have "
                f"{label_map.shape[0]} × {label_map.shape[1]}; use it with the scene it was made "
                "for."
            )
        read = find_label_maps(self.path, maps.values())
        truth = known_map(published.labels)
        code_of = {name: code for code, name in truth.names.items()}
        codes: dict[str, Ints] = {}
        for part, known in maps.items():
            # Maps have codes of their own; the names of the classes are the same.
            table = np.zeros(int(read[known.title].max()) + 1, dtype=np.int64)
            for code, name in known.names.items():
                table[code] = code_of[name]
            codes[part] = table[read[known.title]]
        mistaken = np.zeros(label_map.shape, dtype=bool)
        for row, first, last in published.mistaken:
            mistaken[row, first : last + 1] = True
        wrong = (codes["train"] > 0) & (codes["train"] != label_map)
        moved = mistaken & (label_map > 0) & wrong
        codes["train"] = np.where(moved, 0, codes["train"])
        masks = MaskSplit(codes["train"], codes.get("test"), self.validation)
        split = masks.split(label_map, seed=seed, window=window)
        notes = [
            f"The published split {self.name}: {', '.join(m.title for m in maps.values())}."
        ]
        if moved.any():
            notes.append(
                f"{counted(int(moved.sum()), 'training pixel')} that the map gives to another "
                "class than the labels were moved to the test."
            )
        notes += split.notes
        notes += _disagreements(codes, label_map, truth.title)
        settings = {
            "name": self.name,
            "validation": self.validation,
            "sha256": {part: known.sha256 for part, known in maps.items()},
        }
        notes += filter(None, [published.note])
        return replace(split, kind="published", settings=settings, notes=tuple(notes))


def _disagreements(codes: dict[str, Ints], label_map: Ints, title: str) -> list[str]:
    """Return notes on pixels whose class differs in the labels in use."""
    notes = []
    recognised = recognise_labels(label_map)
    in_use = "not a known map" if recognised is None else recognised.title
    if in_use != title:
        notes.append(f"The split was made with {title}; the labels in use are {in_use}.")
    for part, marked in codes.items():
        other = int(((marked > 0) & (label_map > 0) & (marked != label_map)).sum())
        if other:
            notes.append(
                f"{counted(other, 'pixel')} of the {part} map "
                f"{'has' if other == 1 else 'have'} another class in the labels in use, "
                "which take precedence."
            )
    return notes
