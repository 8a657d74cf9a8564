"""Confusion tables: the matrices of several models as one CSV file."""

from collections.abc import Iterator, Mapping
from typing import Any

from hypercover.evaluation import metrics
from hypercover.evaluation.evaluate import Evaluation
from hypercover.files import csv_text

__all__ = ["confusion_csv"]


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
    producers = metrics.producers_accuracy(matrix)
    for title, row, share in zip(titles, matrix.tolist(), producers, strict=True):
        yield [title, *row, sum(row), _rounded(share)]
    yield ["total", *matrix.sum(axis=0).tolist(), int(matrix.sum()), ""]
    users = [_rounded(share) for share in metrics.users_accuracy(matrix)]
    yield ["user's accuracy", *users, "", _rounded(evaluation.overall_accuracy)]


def _rounded(share: float | None) -> str:
    return "" if share is None else f"{share:.6f}"
