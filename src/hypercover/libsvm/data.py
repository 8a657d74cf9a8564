"""LIBSVM data files (``.el``, ``.svm``): one sample a line, ``label index:value …``.

Indices count from 1.  The number of features is never inferred from a file: the
last features may be zero, and so left out, in one of two files of the same data.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from hypercover.errors import CallError
from hypercover.files import atomic, remove_abandoned_drafts
from hypercover.memory import check_memory
from hypercover.types import Array, Floats, Ints, Progress

MOST_FEATURES = 1_000_000
"""Largest index a file may use."""

_MOST_LABEL = 2**31 - 1

_PIECE = 2**22
"""Bytes read at once."""

_LONGEST = 2**26
"""Bytes a line may have."""

_CELLS = 2**22
"""Values of samples × features held at once while a file is streamed."""

_LARGEST_INTEGER = 2**53
"""Largest integer that LIBSVM, which computes in double precision, represents exactly."""

_POWERS = np.array([10.0**power for power in range(23)])
"""The powers of ten that a double represents exactly."""


@dataclass(frozen=True)
class DataSummary:
    """Size and classes of a data file."""

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

    Every value is written with the digits it takes to read the same value back in
    its own type; scikit-learn's ``dump_svmlight_file`` rounds to 16 digits and
    leaves zeros out.

    Parameters
    ----------
    path : path
        ``.el`` and ``.svm`` are usual suffixes.
    blocks : iterable of (labels (n,), values (n, feature))
        The samples, piece by piece; labels are integers.
    sparse : bool
        Leave zeros out.

    Raises
    ------
    CallError
        If a value is not finite, a label is not an integer, or there are no samples.

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
    with atomic(path) as draft, draft.open("w", encoding="ascii", newline="\n") as file:
        for given_labels, given_values in blocks:
            labels, values = np.asarray(given_labels), np.asarray(given_values)
            width = _check_block(labels, values, width, count)
            step = max(1, _CELLS // 8 // width)
            for top in range(0, len(labels), step):
                part = slice(top, top + step)
                file.write(_text(labels[part].tolist(), values[part], sparse))
            count += len(labels)
        if not count:
            raise CallError(f"There are no samples to write to {path}; label some pixels.")
    return count


def _check_block(labels: Array, values: Array, width: int | None, count: int) -> int:
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
            f"LIBSVM labels must be integers, got the type {labels.dtype}; give class codes."
        )
    kind = values.dtype.kind
    if kind not in "iufb" or values.dtype.itemsize > 8:
        raise CallError(
            f"LIBSVM values must be numbers of at most 64 bits, got {values.dtype}; convert them."
        )
    if kind == "f":
        valid = np.isfinite(values)
    else:
        most = np.int64(_LARGEST_INTEGER)
        valid = (values <= most) & (values >= -most)
    if not valid.all():
        sample, feature = np.argwhere(~valid)[0].tolist()
        raise CallError(
            f"Feature {feature + 1} of sample {count + sample + 1} is {values[sample, feature]}, "
            "which a LIBSVM file cannot hold; leave the sample out or fill the value."
        )
    return features


def _text(labels: list[int], values: Array, sparse: bool) -> str:
    """Return the lines of samples; without zeros, but with negative zeros, if sparse."""
    rows = _printable(values)
    if not sparse:
        pairs = (f" {index}:%r" for index in range(1, values.shape[1] + 1))
        form = "%d" + "".join(pairs) + "\n"
        lines = zip(labels, rows.tolist(), strict=True)
        return "".join([form % (label, *row) for label, row in lines])
    texts = []
    for label, row in zip(labels, rows, strict=True):
        at = np.flatnonzero((row != 0) | np.signbit(row))
        cells = zip((at + 1).tolist(), row[at].tolist(), strict=True)
        texts.append(" ".join([str(label), *(f"{at}:{value!r}" for at, value in cells)]))
    return "\n".join([*texts, ""])


def _printable(values: Array) -> Array:
    """Return values whose ``repr`` is short and reads back to the same value.

    A float32 has at most 9 digits, but as a double it prints 17: each is replaced
    by the double of the shortest decimal that rounds to it.

    Examples
    --------
    >>> _printable(np.float32([0.1, 1e-30])).tolist()
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
    short[left] = [float(str(value)) for value in given[left]]
    return short.reshape(values.shape)


def _rounded(values: Floats, digits: int) -> Floats:
    """Round to significant digits; NaN where powers of ten are not exact."""
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
) -> Iterator[tuple[Ints, Floats]]:
    """Read a file piece by piece: labels (n,) and values (n, n_features).

    Parameters
    ----------
    path : path
    n_features : int
        Number of features; a larger index is an error.
    dense : bool
        Refuse a line that leaves a feature out, instead of reading it as 0.
    progress : callable, optional
        Called with the bytes read and the bytes in all.

    Raises
    ------
    CallError
        If the file is not LIBSVM data; file, line and reason are named.
    """
    step = max(1, _CELLS // _check_features(n_features))
    for labels, table in _pieces(Path(path), n_features, dense, progress):
        for top in range(0, len(labels), step):
            rows = slice(top, top + step)
            yield labels[rows], dense_values(table[rows], n_features)


def dense_values(table: csr_matrix, n_features: int) -> Floats:
    """Return samples as an array (n, n_features), 0 where a line leaves a value out."""
    shape = table.shape[0], n_features
    if table.nnz == shape[0] * n_features:
        values: Floats = table.data.reshape(shape)
        return values
    # Not toarray, which turns -0.0 into 0.0.
    full, cells = np.zeros(shape), table.tocoo()
    full[cells.row, cells.col] = cells.data
    return full


def read_libsvm(
    path: str | Path,
    n_features: int,
    *,
    dense: bool = False,
    dtype: npt.DTypeLike = np.float64,
    progress: Progress | None = None,
) -> tuple[Ints, Array]:
    r"""Read a whole file: labels (n,) and values (n, n_features) of a type.

    The size is checked against the available memory before anything is read.

    Parameters
    ----------
    path : path
    n_features : int
        Number of columns; larger indices are refused.
    dense : bool
        Refuse samples that leave values out.
    dtype : dtype
        Type of the values.
    progress : callable, optional
        Called with the bytes read and the bytes in all.

    Raises
    ------
    CallError
        If the file is not LIBSVM data, or too large for the memory.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "two.el"
    ...     count = path.write_text("3 1:0.5 3:2\n1 2:1\n")
    ...     labels, values = read_libsvm(path, 3)
    >>> labels.tolist(), values.tolist()
    ([3, 1], [[0.5, 0.0, 2.0], [0.0, 1.0, 0.0]])
    """
    samples = _count_lines(Path(path))
    bytes_needed = samples * _check_features(n_features) * np.dtype(dtype).itemsize
    check_memory(bytes_needed, str(path), "read it piece by piece, or fewer samples")
    labels, values = np.empty(samples, np.int64), np.empty((samples, n_features), dtype)
    top = 0
    for some, block in stream_libsvm(path, n_features, dense=dense, progress=progress):
        rows = slice(top, top + len(some))
        labels[rows], values[rows] = some, _as_type(block, values.dtype, Path(path))
        top = rows.stop
    return labels, values


def _as_type(values: Floats, dtype: np.dtype[np.generic], path: Path) -> Array:
    """Return values in a type that can represent them."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
    same = np.isfinite(cast) if dtype.kind == "f" else cast == values
    if not same.all():
        raise CallError(
            f"{path} holds the value {values[~same][0]}, which {dtype} cannot represent; "
            "use float64."
        )
    return cast


def summarize_libsvm(path: str | Path, *, progress: Progress | None = None) -> DataSummary:
    """Count the samples, features and classes of a file, reading it piece by piece.

    Raises
    ------
    CallError
        If the file is not LIBSVM data; file, line and reason are named.
    """
    largest, widths, counts = 0, set[int](), Counter[int]()
    for labels, table in _pieces(Path(path), MOST_FEATURES, False, progress):
        largest = max(largest, int(table.indices.max(initial=-1)) + 1)
        widths |= set(np.diff(table.indptr).tolist())
        counts.update(labels.tolist())
    per_class = dict(sorted(counts.items()))
    return DataSummary(counts.total(), largest, widths == {largest}, per_class)


def _check_features(n_features: int) -> int:
    if not 1 <= n_features <= MOST_FEATURES:
        raise CallError(
            f"The number of features must be from 1 to {MOST_FEATURES:,}, got {n_features}."
        )
    return n_features


def _count_lines(path: Path) -> int:
    """Count the lines of a file, the last of which may lack its line break."""
    breaks, last = 0, b"\n"
    for piece in _bytes(path):
        breaks, last = breaks + piece.count(b"\n"), piece
    return breaks + (not last.endswith(b"\n"))


def _bytes(path: Path) -> Iterator[bytes]:
    """Read a file in pieces of whole lines."""
    line = 1
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                if not piece.endswith(b"\n"):
                    piece += file.readline(_LONGEST)
                if not piece.endswith(b"\n") and file.read(1):
                    line += piece.count(b"\n")
                    raise CallError(
                        f"{path}, line {line}: the line is longer than {_LONGEST >> 20} MiB."
                    )
                line += piece.count(b"\n")
                yield piece
    except OSError as error:
        raise CallError(
            f"{path} cannot be read ({error.strerror}); give a LIBSVM data file."
        ) from error


def _pieces(
    path: Path, n_features: int, dense: bool, progress: Progress | None
) -> Iterator[tuple[Ints, csr_matrix]]:
    """Read the samples of a file in pieces, and name the first line that is wrong."""
    first, done = 1, 0
    for piece in _bytes(path):
        done += len(piece)
        yield read_lines(piece, n_features, path=path, first=first, dense=dense)
        first += piece.count(b"\n")
        if progress is not None:
            progress(done, path.stat().st_size)
    if not done:
        raise CallError(f"{path} is empty; give a LIBSVM data file.")


def read_lines(
    text: bytes, n_features: int, *, path: Path, first: int, dense: bool = False
) -> tuple[Ints, csr_matrix]:
    """Read whole lines, the first of which is line ``first`` of its file: labels and values.

    Raises
    ------
    CallError
        Naming the first line that is wrong, and the reason.
    """
    try:
        return _parsed(text, n_features, dense)
    except ValueError:
        line, why = _first_fault(io.BytesIO(text).readlines(), n_features, dense)
        raise CallError(f"{path}, line {first + line}: {why}.") from None


def _first_fault(texts: list[bytes], n_features: int, dense: bool) -> tuple[int, str]:
    """Return the first line (from 0) that is wrong, by bisection, and the reason."""
    first, end = 0, len(texts)
    while end - first > 1:
        half = (first + end) // 2
        try:
            _parsed(b"".join(texts[first:half]), n_features, dense)
            first = half
        except ValueError:
            end = half
    try:
        _parsed(texts[first], n_features, dense)
    except ValueError as error:
        return first, str(error)
    return first, "the line cannot be read after the others; remove odd characters"


def _parsed(text: bytes, n_features: int, dense: bool) -> tuple[Ints, csr_matrix]:
    """Read whole lines; raise ValueError if any is wrong."""
    from sklearn.datasets import load_svmlight_file

    count = text.count(b"\n") + (not text.endswith(b"\n"))
    if b"_" in text:
        raise ValueError("numbers must be written without underscores")
    try:
        table, labels = load_svmlight_file(io.BytesIO(text), zero_based=False)
    except OverflowError as error:
        raise ValueError(
            f"an index is above the number of features, {n_features}"
        ) from error
    except ValueError as error:
        why = str(error).rstrip(".")
        why = "a feature is not index:value" if "unpack" in why else why
        raise ValueError(
            f"{why[:1].lower()}{why[1:80]}; write label index:value …"
        ) from error
    widths = np.diff(table.indptr)
    if len(labels) != count:
        raise ValueError("the line is empty or a comment; remove it")
    if not ((labels == np.rint(labels)) & (np.abs(labels) <= _MOST_LABEL)).all():
        raise ValueError(f"the label {labels[0]:g} is not a class code; give integers")
    if not np.isfinite(table.data).all():
        raise ValueError("a value is not a finite number; leave the sample out")
    if table.shape[1] > n_features and len(table.data):
        index = f"the index {table.shape[1]} is above the number of features, {n_features}"
        raise ValueError(f"{index}; check the file or the number")
    if dense and (widths != n_features).any():
        have = f"it has {widths[0]} of {n_features} values"
        raise ValueError(f"{have}, and a line of this file must have them all")
    return labels.astype(np.int64), table
