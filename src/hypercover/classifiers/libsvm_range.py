"""Range files of LIBSVM's ``svm-scale``: how each feature is scaled, as text.

``svm-scale -r FILE`` maps each feature linearly from its range to that of the
first lines.  With the range mean ± standard deviation and the target ± 1 that
is exactly a standardisation, so the scaling of a classifier can be handed over.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.svm import SVMClassifier
from hypercover.errors import ModelError
from hypercover.files import write_text

__all__ = ["read_range", "write_range", "write_ranges"]

_MOST_BYTES = 2**28
_CONSTANT = 1e300
"""Scale of a feature that svm-scale leaves out, for then it is 0 whatever it was."""

Floats = npt.NDArray[np.float64]


def write_range(path: str | Path, svm: SVMClassifier) -> None:
    """Write the scaling of a classifier for ``svm-scale -r``.

    Raises
    ------
    ModelError
        If the classifier reduces its bands, which no range file can say.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> svm = SVMClassifier().fit([[0.0], [2.0], [10.0], [12.0]], [1, 1, 2, 2])
    >>> with TemporaryDirectory() as folder:
    ...     write_range(Path(folder) / "model.range", svm)
    ...     read_range(Path(folder) / "model.range", 1)
    (array([6.]), array([5.09901951]))
    """
    if svm.projection_ is not None:
        raise ModelError(
            "A range file can hold a scaling alone, but this model also reduces its "
            f"{len(svm.mean_)} bands to {len(svm.projection_)} features; write the data as "
            "the model sees them, with hypercover libsvm write --model."
        )
    write_ranges(path, svm.mean_ - svm.scale_, svm.mean_ + svm.scale_, target=(-1, 1))


def write_ranges(
    path: str | Path, low: Floats, high: Floats, *, target: tuple[int, int] = (0, 1)
) -> None:
    """Write the range (feature,) of each feature, and the range it is mapped to.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    rows = (f"{at} {least!r} {most!r}\n" for at, (least, most) in enumerate(pairs, start=1))
    write_text(path, f"x\n{target[0]} {target[1]}\n" + "".join(rows))


def read_range(path: str | Path, n_features: int) -> tuple[Floats, Floats]:
    """Read a range file as the mean and the scale of each feature: (x - mean) / scale.

    A feature that the file leaves out was constant; svm-scale makes it 0, and
    so does the enormous scale that it gets here.

    Raises
    ------
    ModelError
        If the file is no range file of so many features; the line is named.
    """
    file = Path(path)
    lines = _lines(file)
    if len(lines) < 2 or lines[0].split() != ["x"]:
        raise ModelError(
            f"{file}, line 1: a range file begins with a line 'x', got "
            f"{(lines or [''])[0][:20]!r}; scale features alone, with svm-scale -s."
        )
    lower, upper = _numbers(file, 2, lines[1], 2)
    if not lower < 0 < upper:
        raise ModelError(
            f"{file}, line 2: the target must reach from below 0 to above 0, got "
            f"{lower:g} to {upper:g}; use svm-scale -l -1 -u 1."
        )
    mean, scale = np.zeros(n_features), np.full(n_features, _CONSTANT)
    last = 0
    for line, text in enumerate(lines[2:], start=3):
        last, least, most = _entry(file, line, text, last, n_features)
        if least < most:
            scale[last - 1] = (most - least) / (upper - lower)
            mean[last - 1] = least - lower * scale[last - 1]
    if not np.isfinite(mean).all() or not (np.isfinite(scale) & (scale > 0)).all():
        raise ModelError(f"{file} holds ranges that no double can hold; write it again.")
    return mean, scale


def _entry(
    file: Path, line: int, text: str, last: int, n_features: int
) -> tuple[int, float, float]:
    """Read the index, which follows ``last``, and the range of a feature."""
    place, least, most = _numbers(file, line, text, 3)
    if place != int(place) or not last < place <= n_features:
        raise ModelError(
            f"{file}, line {line}: the index must be a whole number above {last} and at "
            f"most {n_features}, got {place:g}; give the range file of this data."
        )
    if least > most:
        raise ModelError(
            f"{file}, line {line}: the range goes from {least:g} down to {most:g}; "
            "write the file again."
        )
    return int(place), least, most


def _lines(file: Path) -> list[str]:
    """Read the lines of a text of bounded size."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{file} is larger than 256 MiB, so it is no range file.")
        return file.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ModelError(
            f"The range file {file} cannot be read ({error.strerror}); give a file that "
            "svm-scale -s wrote."
        ) from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{file} is no text, so it is no range file.") from error


def _numbers(file: Path, line: int, text: str, count: int) -> list[float]:
    """Read the finite numbers of a line."""
    words: list[Any] = text.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        what = "an index and two ends" if count == 3 else "two ends"
        raise ModelError(
            f"{file}, line {line}: {what} are wanted, got {text[:30]!r}; write it again."
        )
    return numbers
