"""Confused classes: the pairs confused most, and confusion matrices as a CSV file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.evaluation import accuracy
from hypercover.evaluation.evaluate import Evaluation
from hypercover.evaluation.predictions import Predictions
from hypercover.files import csv_text

Places = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ConfusedPair:
    """Two classes, and the test pixels of each that were taken for the other.

    A confusion matrix gives their number; to see why they are confused, one must look at
    the pixels.
    """

    first: int
    """Code of the class whose pixels were taken for the other more often."""
    second: int
    """Code of the other class."""
    there: Places
    """Row and column (n, 2) of the pixels of the first that were taken for the second."""
    back: Places
    """Row and column (n, 2) of the pixels of the second that were taken for the first."""

    @property
    def count(self) -> int:
        """Pixels that were confused, both ways."""
        return len(self.there) + len(self.back)


def most_confused(answers: Sequence[Predictions], most: int = 3) -> list[ConfusedPair]:
    """Return the pairs of classes that were confused most often, the worst first.

    Parameters
    ----------
    answers : the answers of a model for the test pixels, one a seed
        A pixel that is tested under several seeds counts once for each.
    most : pairs that are returned at most

    Examples
    --------
    >>> from hypercover.scene.samples import Samples
    >>> test = Samples.of([[1, 1, 2, 2, 3]])
    >>> answers = Predictions.of(test, [2, 2, 1, 2, 3], shape=(1, 5))
    >>> [(pair.first, pair.second, pair.count) for pair in most_confused([answers])]
    [(1, 2, 3)]
    """
    if not answers:
        return []
    fields = ("labels", "predicted", "rows", "cols")
    labels, predicted, rows, cols = (
        np.concatenate([getattr(one, name) for one in answers]) for name in fields
    )
    wrong = np.flatnonzero(labels != predicted)
    both = np.sort([labels[wrong], predicted[wrong]], axis=0)
    pairs, counts = np.unique(both, axis=1, return_counts=True)
    places = np.stack([rows, cols], axis=1)

    worst = np.argsort(-counts, kind="stable")[:most]

    def taken(reference: int, answer: int) -> Places:
        return np.asarray(places[(labels == reference) & (predicted == answer)])

    found = []
    for one, other in pairs[:, worst].T.tolist():
        there, back = taken(one, other), taken(other, one)
        if len(there) >= len(back):
            found.append(ConfusedPair(one, other, there, back))
        else:
            found.append(ConfusedPair(other, one, back, there))
    return found


def confusion_csv(evaluations: Mapping[str, Evaluation]) -> str:
    """Write the confusion matrices of some models as CSV text.

    Each model has its own table, whose header says that rows are the reference
    and columns the prediction.  The last column is the producer's accuracy of
    the row, the last row the user's accuracy of the column, and their corner
    the overall accuracy; a cell with nothing to divide by is empty.
    """
    return "\n".join(csv_text(_table(*one)) for one in evaluations.items())


def _table(name: str, evaluation: Evaluation) -> Iterator[list[Any]]:
    """Give the rows of one model's table."""
    lands, matrix = list(evaluation.legend), evaluation.matrix
    yield [f"{name}: rows = reference, columns = predicted"]
    titles = [f"{land.code} {land.name}" for land in lands]
    yield ["reference", *titles, "total", "producer's accuracy"]
    producers = accuracy.producers_accuracy(matrix)
    for title, row, share in zip(titles, matrix.tolist(), producers, strict=True):
        yield [title, *row, sum(row), _rounded(share)]
    yield ["total", *matrix.sum(axis=0).tolist(), int(matrix.sum()), ""]
    users = [_rounded(share) for share in accuracy.users_accuracy(matrix)]
    yield ["user's accuracy", *users, "", _rounded(evaluation.overall_accuracy)]


def _rounded(share: float | None) -> str:
    return "" if share is None else f"{share:.6f}"
