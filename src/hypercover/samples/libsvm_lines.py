"""The lines of a LIBSVM data file: ``label index:value …``, read fast or refused by name.

A piece of a file is checked and read whole by array operations.  Where anything
in it is out of the ordinary it is read again line by line, which is slower and
says which line is wrong, and why.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError

__all__ = ["MOST_FEATURES", "Layout", "Lines", "read_lines"]

MOST_FEATURES = 1_000_000
"""Largest index a file may use, whatever it declares."""
_MOST_LABEL = 2**31 - 1
_MOST_DIGITS = 9
_SHOWN = 24
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_BAD, _PART, _BLANK = 0, 1, 2
_KIND = np.full(256, _BAD, dtype=np.uint8)
_KIND[list(b"0123456789+-.eE:")] = _PART
_KIND[list(b" \t\r\n")] = _BLANK

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """What the lines of a file must look like, and what to call the file."""

    path: Path
    """The file, for what is said about it."""
    n_features: int = MOST_FEATURES
    """Largest index that may occur."""
    dense: bool = False
    """Whether every line must hold every feature."""

    def refused(self, line: int, why: str) -> CallError:
        """Return the error of a line (from 1)."""
        return CallError(f"{self.path}, line {line}: {why}.")


@dataclass(frozen=True, eq=False)
class Lines:
    """Some samples of a file, as they stand there."""

    labels: Ints
    """Label of each line (n,)."""
    counts: Ints
    """Number of index:value pairs of each line (n,)."""
    indices: Ints
    """Index of each pair, from 1, line after line."""
    values: Floats
    """Value of each pair."""

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.labels)

    def dense(self, n_features: int) -> Floats:
        """Return the values as an array (n, n_features), 0 where a line leaves one out."""
        full = np.zeros((len(self), n_features))
        full[np.repeat(np.arange(len(self)), self.counts), self.indices - 1] = self.values
        return full


def read_lines(data: bytes, layout: Layout, first: int) -> Lines:
    """Read whole lines, the first of which is line ``first`` of its file.

    Raises
    ------
    CallError
        If a line is not ``label index:value …``; file, line and reason are named.
    """
    lines = _read_at_once(data)
    if lines is None or not _as_laid_out(lines, layout):
        return _read_one_by_one(data, layout, first)
    return lines


def _as_laid_out(lines: Lines, layout: Layout) -> bool:
    """Tell whether labels, indices and values are what they must be."""
    indices, starts = lines.indices, np.cumsum(lines.counts) - lines.counts
    rises = np.diff(indices, prepend=0) > 0
    rises[starts[lines.counts > 0]] = True
    return bool(
        np.isfinite(lines.values).all()
        and (np.abs(lines.labels) <= _MOST_LABEL).all()
        and rises.all()
        and (indices.min(initial=1) >= 1)
        and (indices.max(initial=1) <= layout.n_features)
        and not (layout.dense and (lines.counts != layout.n_features).any())
    )


def _read_at_once(data: bytes) -> Lines | None:
    """Read lines by array operations; None where they are not all regular."""
    text = np.frombuffer(data, dtype=np.uint8)
    if not (_KIND[text] != _BAD).all():
        return None
    colons, ends = np.flatnonzero(text == ord(":")), np.flatnonzero(text == ord("\n"))
    bare = text.copy()
    indices = _take_indices(text, bare, colons)
    if indices is None:
        return None
    before = np.searchsorted(colons, np.concatenate([[0], ends]))
    if not _regular(bare, colons, ends, before):
        return None
    numbers = _numbers(bare, len(colons) + len(ends))
    if numbers is None:
        return None
    at_label = before[:-1] + np.arange(len(ends))
    labels = numbers[at_label]
    if not (np.abs(labels) <= _MOST_LABEL).all() or (labels != np.rint(labels)).any():
        return None
    return Lines(
        labels.astype(np.int64), np.diff(before), indices, np.delete(numbers, at_label)
    )


def _take_indices(text: Bytes, bare: Bytes, colons: Ints) -> Ints | None:
    """Read the digits before each colon, and blank them and the colon out of ``bare``."""
    indices, places = np.zeros(len(colons), dtype=np.int64), colons - 1
    going = np.arange(len(colons))
    bare[colons] = ord(" ")
    for power in range(_MOST_DIGITS + 1):
        digits = text[places[going]] - np.uint8(ord("0"))
        going, digits = going[digits < 10], digits[digits < 10]
        if not len(going):
            break
        indices[going] += digits.astype(np.int64) * 10**power
        bare[places[going]] = ord(" ")
        places[going] -= 1
    found = not len(going) and (places < colons - 1).all() and (places >= 0).all()
    return indices if found and (_KIND[text[places]] == _BLANK).all() else None


def _regular(bare: Bytes, colons: Ints, ends: Ints, before: Ints) -> bool:
    """Tell whether each line is one label and then one value after each colon."""
    filled = _KIND[bare] != _BLANK
    begins = filled.copy()
    begins[1:] &= ~filled[:-1]
    if not begins[colons + 1].all():
        return False
    begins[colons + 1] = False
    labels = np.flatnonzero(begins)
    if len(labels) != len(ends) or not (labels < ends).all():
        return False
    first = np.append(colons, len(bare))[before[:-1]]
    return bool((labels[1:] > ends[:-1]).all() and (labels < first).all())


def _numbers(bare: Bytes, count: int) -> Floats | None:
    """Read numbers between blanks; None where one of them is none."""
    try:
        words = bare.tobytes().split()
        return np.fromiter(map(float, words), dtype=np.float64, count=count)
    except ValueError:
        return None


def _read_one_by_one(data: bytes, layout: Layout, first: int) -> Lines:
    """Read lines one at a time and name the first that is wrong."""
    labels: list[int] = []
    counts: list[int] = []
    indices: list[int] = []
    values: list[float] = []
    for line, text in enumerate(data.split(b"\n")[:-1], start=first):
        words = text.split()
        if not words:
            raise layout.refused(line, "the line is empty; remove it")
        labels.append(_label(words[0], layout, line))
        counts.append(len(words) - 1)
        last = 0
        for word in words[1:]:
            last, value = _pair(word, last, layout, line)
            indices.append(last)
            values.append(value)
        _check_all_there(len(words) - 1, indices, layout, line)
    return Lines(
        np.array(labels, dtype=np.int64),
        np.array(counts, dtype=np.int64),
        np.array(indices, dtype=np.int64),
        np.array(values, dtype=np.float64),
    )


def _shown(word: bytes) -> str:
    """Show a word of a file that may hold anything."""
    shown = repr(word[:_SHOWN])[1:]
    return shown if len(word) <= _SHOWN else f"{shown[:-1]}…{shown[-1]}"


def _label(word: bytes, layout: Layout, line: int) -> int:
    """Return a label, which stands for a class and so is a whole number."""
    value = float(word) if _NUMBER.fullmatch(word) else np.nan
    if not abs(value) <= _MOST_LABEL or value != int(value):
        raise layout.refused(
            line, f"the label {_shown(word)} is not a whole number; give class codes"
        )
    return int(value)


def _pair(word: bytes, last: int, layout: Layout, line: int) -> tuple[int, float]:
    """Return the index and the value of a pair that follows index ``last``."""
    before, colon, after = word.partition(b":")
    if not colon:
        raise layout.refused(line, f"{_shown(word)} is no pair index:value; write 7:0.25")
    index = int(before[:20]) if before.isdigit() else None
    if index is None:
        raise layout.refused(
            line, f"the index {_shown(before)} is not a whole number; count features from 1"
        )
    if index == 0:
        raise layout.refused(line, "the index 0 is used; count features from 1")
    if index > layout.n_features:
        raise layout.refused(
            line,
            f"the index {_shown(before)[1:-1]} is above the number of features, "
            f"{layout.n_features}; check the file or the number",
        )
    if index <= last:
        what = "stands twice" if index == last else f"follows {last}"
        raise layout.refused(line, f"the index {index} {what}; indices must rise")
    return index, _value(after, index, layout, line)


def _value(word: bytes, index: int, layout: Layout, line: int) -> float:
    """Return a value that is a finite number."""
    value = float(word) if _NUMBER.fullmatch(word) else np.nan
    if not np.isfinite(value):
        raise layout.refused(
            line, f"the value {_shown(word)} of index {index} is not a finite number"
        )
    return value


def _check_all_there(count: int, indices: list[int], layout: Layout, line: int) -> None:
    """Refuse a line that leaves a feature out where every line must hold all."""
    if not layout.dense or count == layout.n_features:
        return
    there = set(indices[len(indices) - count :])
    absent = next(at for at in range(1, layout.n_features + 1) if at not in there)
    raise layout.refused(
        line,
        f"{count} of {layout.n_features} values are there, index {absent} is missing; "
        "a line of this file must hold them all",
    )
