"""LIBSVM data files (``.el``, ``.svm``): one sample a line, as the field keeps them.

``label index:value …`` with indices from 1.  The number of features is never
guessed: of two files of one data set the last features may be zero, and so left
out, in one of them alone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.files import atomic, sweep_drafts
from hypercover.samples.libsvm_lines import MOST_FEATURES, Layout, Lines, read_lines
from hypercover.scene.memory import check_fits

__all__ = ["Contents", "read_libsvm", "stream_libsvm", "survey_libsvm", "write_libsvm"]

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
    sweep_drafts(path)
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
    check_fits(bytes_needed, str(path), "read it piece by piece, or fewer samples")
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
