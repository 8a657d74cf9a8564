"""Splits: which labelled pixels train, validate and test, and the files they are saved in."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, Field, StrictInt, StrictStr
from scipy.ndimage import distance_transform_cdt

from hypercover.errors import LabelError, SplitError, counted
from hypercover.files import file_sha256, make_folder, read_checksummed, write_checksummed
from hypercover.scene.grid import Grid
from hypercover.scene.io.gdal import GDAL_ERRORS, open_raster
from hypercover.scene.io.sample_metadata import validated
from hypercover.scene.io.writing import class_raster_writer
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.samples import Samples, check_window
from hypercover.splits.audit import audit_table
from hypercover.types import Array, Bytes, Codes, Ints, Mask

PARTS = ("unused", "train", "validation", "test", "guard")
"""Names of the parts; the position of a name is its code in the map of parts."""

_ORIGIN = {"kind": True, "seed": True, "settings": True, "window": True, "notes": True}
"""What a split is made of besides its parts."""

PART_COLORS = {
    "unused": "#ebebeb",
    "train": "#0072b2",
    "validation": "#cc79a7",
    "test": "#e69f00",
    "guard": "#3b3f45",
}
"""Colours of the parts, Okabe and Ito's: distinct to colour-blind readers."""


Guard = int | Literal["auto"]
"""Width of the guard band in pixels; "auto" is window − 1."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which pixels of an image belong to which part, and how they were chosen.

    A split can be saved, reloaded, drawn, audited and compared.  One map with one
    code for each pixel guarantees that parts do not overlap.

    Examples
    --------
    >>> train, test = np.array([[1, 1, 0, 0]]), np.array([[0, 0, 0, 1]])
    >>> split = Split.from_parts(train=train, test=test)
    >>> split.parts.tolist(), split.count("test")
    ([[1, 1, 0, 3]], 1)
    >>> split.samples("train", [[5, 7, 5, 7]]).labels
    array([5, 7])
    """

    parts: Bytes
    """Part of each pixel (y, x): 0 unused, 1 train, 2 validation, 3 test, 4 guard."""
    kind: str = "given"
    """How the split was made: random, blocks, fields, …, or given."""
    seed: int = 0
    """Seed of the draw."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the splitter, as plain values."""
    window: int = 1
    """Side in pixels of the windows the split was made for."""
    notes: tuple[str, ...] = ()
    """Remarks of the splitter, one sentence each, such as pixels it left out."""

    def __post_init__(self) -> None:
        """Copy the map of parts and check its codes."""
        parts = np.array(self.parts)
        if parts.ndim != 2 or parts.dtype != np.uint8 or parts.max(initial=0) > 4:
            raise SplitError(
                "A map of parts must be two-dimensional with 8-bit codes from 0 to 4, "
                f"got shape {parts.shape}, type {parts.dtype}; use Split.from_parts."
            )
        parts.setflags(write=False)
        object.__setattr__(self, "parts", parts)

    @classmethod
    def from_parts(
        cls,
        *,
        train: ArrayLike,
        test: ArrayLike,
        validation: ArrayLike | None = None,
        guard: ArrayLike | None = None,
        **options: Any,
    ) -> "Split":
        """Build a split from one mask (y, x) for each part; the masks must be disjoint.

        Raises
        ------
        SplitError
            If two masks share pixels or differ in shape.
        """
        given = {"train": train, "validation": validation, "test": test, "guard": guard}
        masks = {
            name: np.asarray(mask, dtype=bool)
            for name, mask in given.items()
            if mask is not None
        }
        check_disjoint(masks)
        parts = np.zeros(masks["train"].shape, dtype=np.uint8)
        for name, mask in masks.items():
            parts[mask] = PARTS.index(name)
        return cls(parts, **options)

    @classmethod
    def from_regions(
        cls,
        label_map: Codes,
        *,
        drawn: Mask,
        validation: Mask,
        test: Mask,
        guard: int,
        window: int,
        notes: Iterable[str],
        **options: Any,
    ) -> "Split":
        """Build a split of labels (y, x) whose other pixels are the guard.

        Drawn pixels train unless they validate or are within ``guard`` pixels of a
        validation pixel.

        Raises
        ------
        SplitError
            If the split cannot train and test a classifier.
        """
        train = drawn & ~validation & ~within_distance(validation, guard)
        split = cls.from_parts(
            train=train,
            validation=validation,
            test=test,
            guard=(label_map > 0) & ~train & ~validation & ~test,
            window=window,
            notes=(*notes, *guard_notes(guard, window)),
            **options,
        )
        return check_trainable(split, label_map)

    def __eq__(self, other: object) -> bool:
        """Compare the parts and the way they were made."""
        if not isinstance(other, Split):
            return NotImplemented
        return self.digest == other.digest and self._origin() == other._origin()

    def __hash__(self) -> int:
        """Hash by the map of parts."""
        return hash(self.digest)

    def _origin(self) -> dict[str, Any]:
        origin = {name: getattr(self, name) for name in _ORIGIN}
        return origin | {"settings": dict(self.settings)}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.parts.shape
        return rows, cols

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the shape and the map of parts, in hexadecimal."""
        shape = f"{self.shape[0]}x{self.shape[1]}:".encode()
        return hashlib.sha256(shape + self.parts.tobytes()).hexdigest()

    def mask(self, part: str) -> Mask:
        """Return the pixels (y, x) of a part.

        Raises
        ------
        SplitError
            If the part does not exist.
        """
        if part not in PARTS:
            raise SplitError(f"A split has the parts {', '.join(PARTS)}, got {part!r}.")
        return np.asarray(self.parts == PARTS.index(part))

    def count(self, part: str) -> int:
        """Count the pixels of a part."""
        return int(np.count_nonzero(self.mask(part)))

    def samples(self, part: str, labels: ArrayLike) -> Samples:
        """Return the labelled pixels of a part, row by row.

        Raises
        ------
        SplitError
            If the labels (y, x) have another size than the split.
        """
        return Samples.of(np.where(self.mask(part), self._checked(labels), 0))

    def _checked(self, labels: ArrayLike) -> Array:
        """Return labels as an array, after checking their size."""
        label_map = np.asarray(labels)
        if label_map.shape != self.shape:
            raise SplitError(
                f"The split is {self.shape[0]} × {self.shape[1]} pixels, the labels are "
                f"{' × '.join(map(str, label_map.shape))}; use the split made for them."
            )
        # Small unsigned codes would overflow in sums; bincount refuses 64-bit unsigned codes.
        return label_map.astype(np.int64, copy=False)

    def per_class(self, part: str, labels: ArrayLike) -> dict[int, int]:
        """Count the pixels of a part for every class that occurs in the labels."""
        label_map = self._checked(labels)
        most = int(label_map.max(initial=0))
        counts = np.bincount(label_map[self.mask(part)], minlength=most + 1)
        return {int(code): int(counts[code]) for code in np.unique(label_map) if code > 0}

    def unscored(
        self, labels: ArrayLike, legend: Legend | None = None
    ) -> list[tuple[int, str]]:
        """Return the classes that have no accuracy, as (code, reason).

        The test pixels of a class without training pixels stay in the test and
        count as errors.  Classes of the legend without labelled pixels are
        included.
        """
        codes, sizes = np.unique(self._checked(labels), return_counts=True)
        total = dict(zip(codes.tolist(), sizes.tolist(), strict=True))
        counts = total, self.per_class("train", labels), self.per_class("test", labels)
        reasons = {
            code: _unscored_reason(*(count.get(code, 0) for count in counts))
            for code in sorted({*counts[1], *(legend.codes if legend else ())})
        }
        return [(code, reason) for code, reason in reasons.items() if reason]

    def to_json(self, labels: ArrayLike, legend: Legend | None = None) -> dict[str, Any]:
        """Return counts, unscored classes and the leak audit for a JSON file."""
        classes = (*(legend or Legend()).covering(labels), *(legend or ()))
        names = {each.code: each.name for each in classes}
        tested = [code for code, count in self.per_class("test", labels).items() if count]
        audits = audit_table(self, self.window) if self.count("test") else {}
        origin = self._origin()
        notes = [*origin.pop("notes")]
        # The other folds of a cross-validation may test other classes.
        if len(tested) == 1 and "fold" not in self.settings:
            notes.append(
                f"Only class {tested[0]} ({names[tested[0]]}) has test pixels: the accuracy is "
                "that of one class, and kappa is meaningless."
            )
        return {
            **origin,
            **{part: self.part_json(part, labels) for part in PARTS[1:]},
            "unscored": [
                {"code": code, "name": names[code], "reason": reason}
                for code, reason in self.unscored(labels, legend)
            ],
            "leakage": {
                str(leak.pop("window")): leak for leak in map(asdict, audits.values())
            },
            "notes": notes,
            "sha256": self.digest,
        }

    def part_json(self, part: str, labels: ArrayLike | None) -> dict[str, Any]:
        """Return the count of a part and, with labels, its count for each class."""
        entry: dict[str, Any] = {"count": self.count(part)}
        if labels is not None:
            counts = self.per_class(part, labels)
            entry["per_class"] = {str(code): n for code, n in counts.items()}
        return entry

    def save(
        self,
        folder: str | Path,
        stem: str = "split",
        *,
        grid: Grid | None = None,
        legend: Legend | None = None,
        labels: ArrayLike | None = None,
    ) -> None:
        """Write ``<stem>.tif``, the map of parts, and ``<stem>.json`` with everything else.

        Parameters
        ----------
        folder, stem : where to write
        grid : georeference of the map
        legend : names of the classes, for the JSON file
        labels : class codes (y, x); if given, the counts of each class are saved

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        if grid is not None and grid.shape != self.shape:
            raise SplitError(
                f"The split is {self.shape[0]} × {self.shape[1]} pixels, the grid is "
                f"{grid.rows} × {grid.cols}; use the grid of the scene it was made for."
            )
        path = make_folder(folder) / f"{stem}.tif"
        _write_map(path, self, grid or Grid(*self.shape))
        document = {
            "format": "hypercover split 1",
            **self._origin(),
            "shape": self.shape,
            "parts": {
                part: {"code": code, **self.part_json(part, labels)}
                for code, part in enumerate(PARTS)
            },
            "classes": [] if legend is None else legend.to_json(),
            "map_sha256": file_sha256(path),
            "sha256": self.digest,
        }
        write_checksummed(path.with_suffix(".json"), document)

    @classmethod
    def load(cls, folder: str | Path, stem: str = "split") -> "Split":
        """Read what :meth:`save` wrote and verify its size and SHA-256.

        Raises
        ------
        SplitError
            If a file is missing, damaged, or does not belong to the other.
        """
        path = Path(folder) / f"{stem}.tif"
        document = _read_document(path.with_suffix(".json"))
        parts = _read_map(path, document.shape)
        if document.map_sha256 not in (None, file_sha256(path)):
            raise _damaged_split(path, f"its SHA-256 differs from that in {stem}.json")
        origin = document.model_dump(include=_ORIGIN)
        try:
            split = cls(parts, **origin)
        except SplitError as error:
            raise _damaged_split(path, "it holds codes that are not parts") from error
        if split.digest != document.sha256:
            raise _damaged_split(path, f"its SHA-256 differs from that in {stem}.json")
        return split


def _unscored_reason(pixels: int, train: int, test: int) -> str:
    """Return why a class cannot be scored, or an empty string."""
    if pixels < 2:
        return "only one labelled pixel" if pixels else "no labelled pixel"
    if not train:
        more = ": its test pixels count as errors"
        return f"no training pixel{more}" if test else "no training and no test pixel"
    return "" if test else "no test pixel"


def check_disjoint(masks: Mapping[str, Mask]) -> None:
    """Raise if two masks (y, x) share a pixel or differ in shape.

    Raises
    ------
    SplitError
        With the two parts and the number of pixels they share.
    """
    for (name, first), (other, second) in combinations(masks.items(), 2):
        if first.shape != second.shape:
            raise SplitError(
                f"The parts of a split must have one size, got {first.shape} for {name} "
                f"and {second.shape} for {other}; give masks of the same image."
            )
        shared = int(np.count_nonzero(first & second))
        if shared:
            raise SplitError(
                f"The parts of a split must be disjoint, but {name} and {other} share "
                f"{counted(shared, 'pixel')}; remove them from one of the two."
            )


def check_labels(labels: ArrayLike, window: int = 1) -> Ints:
    """Return a label map (y, x) after checking that it can be split.

    Raises
    ------
    LabelError
        If it is not a two-dimensional map of integers from 0 to 65535, or has
        fewer than two classes.
    CallError
        If the window does not fit.
    """
    label_map = np.asarray(labels)
    whole = np.issubdtype(label_map.dtype, np.integer)
    least, most = (label_map.min(initial=0), label_map.max(initial=0)) if whole else (0, 0)
    if label_map.ndim != 2 or not whole or least < 0 or most > MAX_CODE:
        raise LabelError(
            f"Labels must be a two-dimensional map of integers from 0 (unlabelled) to "
            f"{MAX_CODE}, got shape {label_map.shape}, type {label_map.dtype} and values "
            f"from {least} to {most}; give class codes."
        )
    label_map = label_map.astype(np.int64, copy=False)
    codes = np.unique(label_map[label_map > 0])
    if len(codes) == 0:
        raise LabelError("The label map has no labelled pixels; label some pixels first.")
    if len(codes) == 1:
        raise LabelError(
            f"The label map holds only one class, code {codes[0]}, but a classifier "
            "needs at least two; label pixels of another class as well."
        )
    check_window(window, label_map.shape)
    return label_map


def check_validation(share: float) -> None:
    """Raise unless a validation share is from 0 to below 1."""
    if not 0 <= share < 1:
        raise SplitError(
            "The validation share of the training pixels must be from 0 to below 1, got "
            f"{share}; use 0.2, or 0 for none."
        )


def check_guard(guard: Guard) -> None:
    """Raise unless a guard is a width in pixels or "auto"."""
    if guard != "auto" and (isinstance(guard, str) or guard < 0):
        raise SplitError(
            "The guard must be a width in pixels from 0, or 'auto' for window − 1, "
            f"got {guard!r}."
        )


def guard_width(guard: Guard, window: int) -> int:
    """Return the width in pixels of a guard for windows of this side."""
    return window - 1 if guard == "auto" else guard


def guard_notes(guard: int, window: int) -> tuple[str, ...]:
    """Return a note if the guard is narrower than window − 1."""
    if guard >= window - 1:
        return ()
    return (
        f"The guard of {guard} pixels is narrower than window − 1 = {window - 1}: "
        "some test windows share pixels with training windows.",
    )


def within_distance(mask: Mask, distance: int) -> Mask:
    """Return the pixels within a Chebyshev distance of a mask, itself included."""
    if not mask.any():
        return np.zeros_like(mask)
    return np.asarray(distance_transform_cdt(~mask, metric="chessboard") <= distance)


def check_trainable(split: Split, labels: ArrayLike) -> Split:
    """Return a split after checking that it can train and test a classifier.

    Raises
    ------
    SplitError
        If fewer than two classes have training pixels, or there are no test pixels.
    """
    trained = sum(count > 0 for count in split.per_class("train", labels).values())
    if trained < 2:
        raise SplitError(
            f"The training part must hold pixels of at least two classes, got {trained}; "
            "train on a larger share or on other pixels."
        )
    if split.count("test") == 0:
        raise SplitError(
            "No labelled pixels are left for the test; train on a smaller share or on other "
            "pixels."
        )
    return split


_MAX_PIXELS = 2**30

_MAX_JSON = 2**24


class _PartCounts(BaseModel):
    """Pixels of a part."""

    per_class: dict[int, int] | None = None
    """Pixels of each class, if the split was saved with its labels."""


class _SplitDocument(BaseModel):
    """The JSON file of a split."""

    format: Literal["hypercover split 1"]
    kind: StrictStr
    seed: StrictInt
    settings: dict[str, Any]
    window: StrictInt
    notes: tuple[StrictStr, ...]
    shape: tuple[StrictInt, StrictInt]
    parts: dict[str, _PartCounts] = Field(default_factory=dict)
    map_sha256: str | None = None
    """SHA-256 of the GeoTIFF; older files lack it."""
    sha256: StrictStr
    """Digest of the split."""


def _write_map(path: Path, split: Split, grid: Grid) -> None:
    """Write the codes of the parts as a class raster."""
    unused, *others = PARTS
    names = dict(enumerate(others, start=1))
    colors = {code: PART_COLORS[part] for code, part in names.items()}
    red, green, blue = bytes.fromhex(PART_COLORS[unused][1:])
    with class_raster_writer(
        path,
        Legend.of(names, colors),
        grid,
        zero=unused,
        zero_rgb=(red, green, blue),
        nodata=None,
        description="part of the split: " + ", ".join(PARTS),
        tags={"NOTES": " ".join(split.notes)},
    ) as raster:
        raster.write(split.parts, 1)


def read_counts(folder: Path, stem: str) -> dict[str, dict[int, int]]:
    """Read the pixels of each class in each part, if a split was saved with them."""
    return {
        name: {code: count for code, count in part.per_class.items() if count}
        for name, part in _read_document(folder / f"{stem}.json").parts.items()
        if part.per_class is not None
    }


def _damaged_split(path: Path, why: str) -> SplitError:
    return SplitError(f"The split file {path} cannot be used: {why}; make the split again.")


def _read_document(path: Path) -> _SplitDocument:
    """Read and validate the JSON file of a split."""
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ValueError("it is far too large")
        return validated(_SplitDocument, read_checksummed(path.read_bytes()))
    except FileNotFoundError as error:
        raise _damaged_split(path, "it does not exist") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _damaged_split(path, "it is not readable JSON") from error
    except (OSError, ValueError) as error:
        raise _damaged_split(path, str(error)) from error


def _read_map(path: Path, shape: tuple[int, int]) -> Bytes:
    """Read the codes of the parts from a GeoTIFF of this shape."""
    if not path.is_file():
        raise _damaged_split(path, "it does not exist")
    try:
        with open_raster(path, drivers=("GTiff",)) as raster:
            size = (raster.height, raster.width)
            if size != shape or raster.height * raster.width > _MAX_PIXELS:
                raise _damaged_split(path, f"its shape is {size} and not {shape}")
            if raster.count != 1 or raster.dtypes[0] != "uint8":
                raise _damaged_split(path, "it is not one band of 8-bit codes")
            return np.asarray(raster.read(1), dtype=np.uint8)
    except GDAL_ERRORS as error:
        raise _damaged_split(path, "it is not a readable GeoTIFF") from error
