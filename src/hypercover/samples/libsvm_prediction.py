"""What ``svm-predict`` wrote: a label a line, and probabilities where they were asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.samples.libsvm_lines import Layout
from hypercover.scene.legend import MAX_CODE

__all__ = ["read_prediction"]

_LONGEST = 2**22
_OF_THESE = "give the prediction of the data these positions belong to"

Codes = npt.NDArray[np.uint16]


def read_prediction(
    path: str | Path, samples: int
) -> tuple[Codes, npt.NDArray[np.float32] | None]:
    r"""Read the class of each sample and, after ``svm-predict -b 1``, how probable it is.

    Parameters
    ----------
    path : path
        Lines of ``label``, or ``labels 1 2 …`` and then lines of ``label p1 p2 …``.
    samples : int
        Number of samples that were predicted.

    Raises
    ------
    CallError
        If the file is none, or holds another number of labels; the line is named.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "predicted.txt"
    ...     count = path.write_text("labels 2 5\n5 0.25 0.75\n2 0.5 0.5\n")
    ...     read_prediction(path, 2)
    (array([5, 2], dtype=uint16), array([0.75, 0.5 ], dtype=float32))
    """
    layout = Layout(Path(path))
    codes, sure = np.zeros(samples, np.uint16), np.zeros(samples, np.float32)
    order: dict[int, int] = {}
    count = 0
    for line, words in _lines(layout):
        if line == 1 and words[:1] == ["labels"]:
            found = [_code(word, layout, line) for word in words[1:]]
            order = {code: place for place, code in enumerate(found)}
            continue
        if count == samples:
            why = f"it follows the labels of all {samples} samples; {_OF_THESE}"
            raise layout.refused(line, why)
        codes[count] = _code(words[0] if words else "", layout, line)
        sure[count] = _share(words, order, layout, line)
        count += 1
    if count < samples:
        raise CallError(
            f"{layout.path} holds {count} labels where {samples} samples have positions; "
            f"{_OF_THESE}."
        )
    return codes, sure if order else None


def _lines(layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Read line by line, none of them without end."""
    try:
        with layout.path.open("rb") as file:
            line = 0
            while text := file.readline(_LONGEST + 1):
                line += 1
                if len(text) > _LONGEST:
                    raise layout.refused(
                        line, f"the line is longer than {_LONGEST} bytes; give the output of "
                        "svm-predict"
                    )  # fmt: skip
                yield line, text.decode("ascii", "backslashreplace").split()
    except OSError as error:
        raise CallError(
            f"The prediction {layout.path} cannot be read ({error.strerror}); give the output "
            "file of svm-predict."
        ) from error


def _number(word: str) -> float:
    try:
        return np.nan if "_" in word else float(word)
    except ValueError:
        return np.nan


def _code(word: str, layout: Layout, line: int) -> int:
    """Return a class code, which a map can hold."""
    value = _number(word)
    if not 1 <= value <= MAX_CODE or value != int(value):
        raise layout.refused(
            line, f"the label {word[:20]!r} is no class code from 1 to {MAX_CODE}; predict "
            "with a model of class codes"
        )  # fmt: skip
    return int(value)


def _share(words: list[str], order: dict[int, int], layout: Layout, line: int) -> float:
    """Return the probability of the label of a line; 0 where none are given."""
    if not order and len(words) == 1:
        return 0.0
    if not order:
        raise layout.refused(line, "one label a line is wanted; give svm-predict's output")
    place = order.get(int(_number(words[0])))
    if place is None or len(words) != len(order) + 1:
        raise layout.refused(
            line, f"a label of the first line and {len(order)} probabilities are wanted; give "
            "svm-predict's output"
        )  # fmt: skip
    share = _number(words[1 + place])
    if not 0 <= share <= 1:
        raise layout.refused(line, f"the probability {words[1 + place][:20]!r} is none")
    return share
