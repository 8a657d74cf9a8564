"""LIBSVM data files (``.el``, ``.svm``): one sample a line, as the field keeps them.

``label index:value …`` with indices from 1.  The number of features is never
guessed: of two files of one data set the last features may be zero, and so left
out, in one of them alone.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.files import atomic, remove_abandoned_drafts
from hypercover.scene.io.limits import check_memory

__all__ = [
    "MOST_FEATURES",
    "Contents",
    "Layout",
    "Lines",
    "read_libsvm",
    "read_lines",
    "stream_libsvm",
    "survey_libsvm",
    "write_libsvm",
]

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


_PIECE = 2**22
"""Bytes read at once."""

_LONGEST = 2**26
"""Bytes a single line may have."""

_CELLS = 2**22
"""Values of samples × features held at once while a file is streamed."""

_WHOLE = 2**53
"""Largest whole number that LIBSVM, which counts in double precision, keeps."""

_POWERS = np.array([10.0**power for power in range(23)])
"""The powers of ten that a double holds exactly."""

Block = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Contents:
    """What a file holds, found without holding it."""

    samples: int
    """Number of lines."""
    largest: int
    """Largest index; the number of features is at least that."""
    dense: bool
    """Whether every line holds every index from 1 to the largest."""
    per_class: dict[int, int]
    """Samples of each label, by rising label."""


def write_libsvm(
    path: str | Path,
    blocks: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    sparse: bool = False,
) -> int:
    """Write samples as LIBSVM text and return their number.

    Every value is written with as many digits as it needs to be read back
    exactly, in its own type.

    Parameters
    ----------
    path : path
        ``.el`` and ``.svm`` are usual suffixes.
    blocks : iterable of (labels (n,), values (n, feature))
        The samples, piece by piece; labels are whole numbers.
    sparse : bool
        Leave zeros out.

    Raises
    ------
    CallError
        If a value is not finite, a label is no whole number, or there is no sample.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "two.el"
    ...     count = write_libsvm(path, [([3, 1], np.float32([[0.1, 0], [2, 3]]))])
    ...     print(count, path.read_text(), end="")
    2 3 1:0.1 2:0.0
    1 1:2.0 2:3.0
    """
    count, width = 0, None
    remove_abandoned_drafts(path)
    with atomic(path) as draft, draft.open("wb") as file:
        for given_labels, given_values in blocks:
            labels, values = np.asarray(given_labels), np.asarray(given_values)
            width = _check_block(labels, values, width, count)
            for part in _parts(len(labels), values.shape[1]):
                text = _sparse_text if sparse else _dense_text
                file.write(text(labels[part].tolist(), values[part]).encode("ascii"))
            count += len(labels)
        if not count:
            raise CallError(f"There is no sample to write to {path}; label some pixels.")
    return count


def _parts(n_samples: int, n_features: int) -> Iterator[slice]:
    """Cut samples into parts whose text is of moderate size."""
    step = max(1, _CELLS // 8 // max(1, n_features))
    return (slice(top, top + step) for top in range(0, n_samples, step))


def _check_block(
    labels: npt.NDArray[np.generic],
    values: npt.NDArray[np.generic],
    width: int | None,
    count: int,
) -> int:
    """Return the number of features after checking labels and values."""
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise CallError(
            "LIBSVM data are labels (n,) and values (n, feature), got shapes "
            f"{labels.shape} and {values.shape}; give one label for each sample."
        )
    features = int(values.shape[1])
    if not 1 <= features <= MOST_FEATURES or width not in (None, features):
        raise CallError(
            f"Every sample must have the same number of features, from 1 to {MOST_FEATURES:,}, "
            f"got {features}{f' after {width}' if width else ''}; give one table."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise CallError(
            f"LIBSVM labels must be whole numbers, got the type {labels.dtype}; give class codes."
        )
    _check_values(values, count)
    return features


def _check_values(values: npt.NDArray[np.generic], count: int) -> None:
    """Refuse values that a text of finite doubles cannot hold."""
    kind = values.dtype.kind
    if kind not in "iufb" or values.dtype.itemsize > 8:
        raise CallError(
            f"LIBSVM values must be numbers of at most 64 bits, got {values.dtype}; convert them."
        )
    kept = np.isfinite(values) if kind == "f" else np.ones((), bool)
    if kind in "iu":
        kept = (values <= np.int64(_WHOLE)) & (values >= np.int64(-_WHOLE))
    if not kept.all():
        sample, feature = np.argwhere(~kept)[0].tolist()
        raise CallError(
            f"Feature {feature + 1} of sample {count + sample + 1} is {values[sample, feature]}, "
            "which a LIBSVM file cannot hold; leave the sample out or fill the value."
        )


def _dense_text(labels: list[int], values: npt.NDArray[np.generic]) -> str:
    """Write samples with every value."""
    pairs = (f" {index}:%r" for index in range(1, values.shape[1] + 1))
    form = "%d" + "".join(pairs) + "\n"
    rows = printable(values).tolist()
    return "".join([form % (label, *row) for label, row in zip(labels, rows, strict=True)])


def _sparse_text(labels: list[int], values: npt.NDArray[np.generic]) -> str:
    """Write samples without their zeros; a negative zero is kept."""
    lines = []
    for label, row in zip(labels, printable(values), strict=True):
        at = np.flatnonzero((row != 0) | np.signbit(row))
        pairs = zip((at + 1).tolist(), row[at].tolist(), strict=True)
        lines.append(
            " ".join([str(label), *(f"{index}:{value!r}" for index, value in pairs)])
        )
    return "\n".join([*lines, ""])


def printable(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return values whose ``repr`` is short and reads back to the same value.

    A float32 has at most 9 digits, but its double has 17: each is replaced by
    the double of the shortest decimal that leads back to it.

    Examples
    --------
    >>> printable(np.float32([0.1, 1e-30])).tolist()
    [0.1, 1e-30]
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind != "f" or values.dtype.itemsize == 8:
        return values
    given = values.ravel()
    short, left = given.astype(np.float64), np.flatnonzero(given != 0)
    for digits in range(3, 10):
        decimal = _rounded(given[left].astype(np.float64), digits)
        same = decimal.astype(given.dtype) == given[left]
        short[left[same]] = decimal[same]
        left = left[~same]
        if not len(left):
            break
    short[left] = [float(str(value)) for value in given[left]]
    return short.reshape(values.shape)


def _rounded(values: npt.NDArray[np.float64], digits: int) -> npt.NDArray[np.float64]:
    """Round to significant digits; the double nearest to the decimal where powers are exact."""
    power = digits - 1 - np.floor(np.log10(np.abs(values)))
    steps = np.clip(power, -22, 22).astype(np.int64)
    up, down = _POWERS[np.maximum(steps, 0)], _POWERS[np.maximum(-steps, 0)]
    rounded = np.rint(values * up / down) / up * down
    return np.where(np.abs(power) <= 22, rounded, np.nan)


def stream_libsvm(
    path: str | Path,
    n_features: int,
    *,
    dense: bool = False,
    progress: Progress | None = None,
) -> Iterator[Block]:
    """Read a file piece by piece: labels (n,) and values (n, n_features).

    Parameters
    ----------
    path : path
    n_features : int
        Number of features; an index above it is an error.
    dense : bool
        Refuse a line that leaves a feature out, instead of taking it for 0.
    progress : callable, optional
        Called with the bytes read and the bytes in all.

    Raises
    ------
    CallError
        If the file is no such file; file, line and reason are named.
    """
    layout = Layout(Path(path), _features(n_features), dense)
    step = max(1, _CELLS // n_features)
    for lines in _pieces(layout, progress):
        ends = np.concatenate([[0], np.cumsum(lines.counts)])
        for top in range(0, len(lines), step):
            rows = slice(top, min(top + step, len(lines)))
            pairs = slice(ends[rows.start], ends[rows.stop])
            part = Lines(lines.labels[rows], lines.counts[rows],
                         lines.indices[pairs], lines.values[pairs])  # fmt: skip
            yield part.labels, part.dense(n_features)


def read_libsvm(
    path: str | Path,
    n_features: int,
    *,
    dense: bool = False,
    dtype: npt.DTypeLike = np.float64,
    progress: Progress | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.generic]]:
    """Read a file whole: labels (n,) and values (n, n_features) of a type.

    The size is known and checked against the memory before anything is read.

    Raises
    ------
    CallError
        If the file is no such file, or too large for the memory.
    """
    samples = _count_lines(Path(path))
    bytes_needed = samples * _features(n_features) * np.dtype(dtype).itemsize
    check_memory(bytes_needed, str(path), "read it piece by piece, or fewer samples")
    labels, values = np.empty(samples, np.int64), np.empty((samples, n_features), dtype)
    top = 0
    for some, block in stream_libsvm(path, n_features, dense=dense, progress=progress):
        rows = slice(top, top + len(some))
        labels[rows], values[rows] = some, _as_type(block, values.dtype, Path(path))
        top = rows.stop
    return labels, values


def _as_type(
    values: npt.NDArray[np.float64], dtype: np.dtype[np.generic], path: Path
) -> npt.NDArray[np.generic]:
    """Return values in a type that can hold them."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
    held = np.isfinite(cast) if dtype.kind == "f" else cast == values
    if not held.all():
        raise CallError(
            f"{path} holds the value {values[~held][0]}, which is none of type {dtype}; "
            "read it as float64."
        )
    return cast


def survey_libsvm(path: str | Path, *, progress: Progress | None = None) -> Contents:
    """Count the samples, features and classes of a file without holding it.

    Raises
    ------
    CallError
        If the file is no such file; file, line and reason are named.
    """
    samples, largest, widths, counts = 0, 0, set(), dict[int, int]()
    for lines in _pieces(Layout(Path(path)), progress):
        samples += len(lines)
        largest = max(largest, int(lines.indices.max(initial=0)))
        widths |= set(np.unique(lines.counts).tolist())
        for label, count in zip(*np.unique(lines.labels, return_counts=True), strict=True):
            counts[int(label)] = counts.get(int(label), 0) + int(count)
    return Contents(samples, largest, widths == {largest}, dict(sorted(counts.items())))


def _features(n_features: int) -> int:
    """Return a number of features after checking that it is one."""
    if not 1 <= n_features <= MOST_FEATURES:
        raise CallError(
            f"The number of features must lie from 1 to {MOST_FEATURES:,}, got {n_features}."
        )
    return n_features


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise CallError(
            f"{path} cannot be read ({error.strerror}); give a LIBSVM data file."
        ) from error


def _count_lines(path: Path) -> int:
    """Count the lines of a file, the last of which may lack its line break."""
    breaks, last = 0, b"\n"
    with _opened(path) as file:
        while piece := file.read(_PIECE):
            breaks, last = breaks + piece.count(b"\n"), piece
    return breaks + (not last.endswith(b"\n"))


def _pieces(layout: Layout, progress: Progress | None) -> Iterator[Lines]:
    """Read a file in pieces of whole lines."""
    line, done, rest = 1, 0, b""
    with _opened(layout.path) as file:
        total = layout.path.stat().st_size
        while piece := file.read(_PIECE):
            done += len(piece)
            whole, cut, after = piece.rpartition(b"\n")
            if not cut:
                rest += piece
                _check_length(rest, layout, line)
                continue
            lines = read_lines(rest + whole + cut, layout, line)
            rest, line = after, line + len(lines)
            yield lines
            if progress is not None:
                progress(done, total)
    if rest:
        # LIBSVM's own programs read a last line without a line break as well.
        lines = read_lines(rest + b"\n", layout, line)
        line += len(lines)
        yield lines
    if line == 1:
        raise CallError(f"{layout.path} is empty; give a LIBSVM data file.")


def _check_length(rest: bytes, layout: Layout, line: int) -> None:
    """Refuse a line that grows without end."""
    if len(rest) > _LONGEST:
        raise layout.refused(
            line,
            f"the line is longer than {_LONGEST >> 20} MiB; this is no LIBSVM data file",
        )
