"""Evaluation of predictions on the test pixels of a split, and the classes confused most."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.evaluation import accuracy, run_metrics
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.result_plots import format_result, plot_grid
from hypercover.files import csv_text
from hypercover.scene.legend import LandClass, Legend
from hypercover.splits.audit import LeakAudit, audit
from hypercover.splits.split import Split
from hypercover.types import Ints

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Accuracies on the test pixels of a split, together with its leak audit.

    An evaluation cannot be made without the audit for the window of the classifier.

    Examples
    --------
    >>> labels = np.array([[1, 2, 1, 2, 2]])
    >>> split = Split.from_parts(train=[[1, 1, 0, 0, 0]], test=[[0, 0, 1, 1, 1]])
    >>> print(repr(evaluate([1, 2, 1], labels=labels, split=split)).splitlines()[0])
    Evaluation on 3 test pixels: overall accuracy 66.7 %, average accuracy 75.0 %, kappa 0.400
    """

    legend: Legend
    """The classes of the label map, in the order of the matrix."""
    matrix: Ints
    """Counts (reference class, predicted class) over the test pixels."""
    leakage: LeakAudit
    """Overlap of the test windows with the training pixels."""
    train_counts: dict[int, int] = field(default_factory=dict)
    """Training pixels of each class."""

    @cached_property
    def overall_accuracy(self) -> float | None:
        """Share of all test pixels that are right."""
        return accuracy.overall_accuracy(self.matrix)

    @cached_property
    def average_accuracy(self) -> float | None:
        """Mean producer's accuracy over the classes with test pixels."""
        return accuracy.average_accuracy(self.matrix)

    @cached_property
    def kappa(self) -> float | None:
        """Cohen's kappa."""
        return accuracy.kappa(self.matrix)

    @property
    def never_predicted(self) -> list[LandClass]:
        """Classes with test pixels that the classifier never predicts.

        Overall accuracy hides small ones.
        """
        given, tested = self.matrix.sum(axis=0), self.matrix.sum(axis=1)
        never = (given == 0) & (tested > 0)
        return [each for each, lost in zip(self.legend, never, strict=True) if lost]

    @property
    def scores(self) -> list[run_metrics.ClassScore]:
        """Counts, producer's and user's accuracy and F1 of each class."""
        counts = self.matrix.sum(axis=1)
        sums = np.diagonal(self.matrix), counts, self.matrix.sum(axis=0)
        values = accuracy.none_for_nan(accuracy.accuracies(np.stack(sums).astype(float)))
        _, measures = accuracy.by_measure(values, self.legend.codes)
        return [
            run_metrics.ClassScore(
                code=code,
                name=self.legend[code].name,
                train_count=self.train_counts.get(code, 0),
                test_count=count,
                **measures[code],
            )
            for code, count in zip(self.legend.codes, counts.tolist(), strict=True)
        ]

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """One row a class: counts, producer's and user's accuracy, F1."""
        return [score.to_json() for score in self.scores]

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row a class: pixels, producer's and user's accuracy, F1."""
        import pandas as pd

        return pd.DataFrame(self.per_class)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the confusion matrix with matplotlib and return the axes."""
        names = self.legend.names
        shares = accuracy.safe_divide(
            self.matrix.astype(np.float64), self.matrix.sum(axis=1, keepdims=True)
        )
        texts = [[f"{count:,}" if count else "" for count in row] for row in self.matrix]
        axes = plot_grid(shares, names, names, texts, ax)
        axes.set(xlabel="predicted", ylabel="reference", title="Confusion matrix")
        return axes

    def __repr__(self) -> str:
        """Return the overall measures and a table of the classes."""
        shares = {"overall": self.overall_accuracy, "average": self.average_accuracy}
        parts = [
            f"{name} accuracy {'–' if share is None else f'{100 * share:.1f} %'}"
            for name, share in shares.items()
        ]
        parts.append("kappa –" if self.kappa is None else f"kappa {self.kappa:.3f}")
        headline = f"Evaluation on {self.matrix.sum():,} test pixels: {', '.join(parts)}"
        return format_result(headline, self.to_frame())

    def to_metrics(self) -> run_metrics.ModelMetrics:
        """Return everything as a part of the metrics of a run."""
        return run_metrics.ModelMetrics(
            overall_accuracy=self.overall_accuracy,
            average_accuracy=self.average_accuracy,
            kappa=self.kappa,
            per_class=self.scores,
            confusion=run_metrics.Confusion(
                codes=list(self.legend.codes), matrix=self.matrix.tolist()
            ),
            leakage=run_metrics.LeakageMetrics(**asdict(self.leakage)),
        )

    @classmethod
    def from_metrics(cls, model: run_metrics.ModelMetrics) -> "Evaluation":
        """Rebuild an evaluation from the metrics of a run."""
        leakage = model.leakage
        return cls(
            legend=Legend.of({score.code: score.name for score in model.per_class}),
            matrix=np.asarray(model.confusion.matrix, dtype=np.int64),
            leakage=LeakAudit(
                leakage.window, leakage.centre_in_window, leakage.window_overlap
            ),
            train_counts={
                score.code: round(score.train_count or 0) for score in model.per_class
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values, as in ``metrics.json``."""
        return self.to_metrics().to_json()

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> "Evaluation":
        """Rebuild an evaluation from what :meth:`to_json` returned."""
        return cls.from_metrics(run_metrics.ModelMetrics.model_validate(model))


def evaluate(
    predicted: npt.ArrayLike,
    *,
    labels: npt.ArrayLike,
    split: Split,
    legend: Legend | None = None,
    window: int = 1,
) -> Evaluation:
    """Compare predictions for the test pixels with their labels, and audit the split.

    Parameters
    ----------
    predicted : array (n,)
        Class codes for ``split.samples("test", labels)``, in that order.
    labels : array (y, x)
        Class codes of the scene; 0 = unlabelled.
    split : Split
        The split whose test part was predicted.
    legend : Legend, optional
        Names of the classes.
    window : odd int
        Side of the windows the classifier looked at; 1 for single spectra.

    Raises
    ------
    CallError
        If there is not one prediction for each test pixel, or a predicted code is not a
        class of the labels.

    Examples
    --------
    >>> labels = np.array([[1, 2, 1, 2, 2]])
    >>> split = Split.from_parts(train=[[1, 1, 0, 0, 0]], test=[[0, 0, 1, 1, 1]])
    >>> result = evaluate([1, 2, 1], labels=labels, split=split, window=1)
    >>> result.matrix.tolist(), round(result.overall_accuracy, 3)
    ([[1, 0], [1, 1]], 0.667)
    """
    reference = split.samples("test", labels).labels
    legend = (legend or Legend()).covering(labels)
    codes = np.asarray(predicted)
    if codes.shape != reference.shape:
        raise CallError(
            f"One predicted code for each of the {len(reference)} pixels is needed, got "
            f"an array of shape {codes.shape}; predict the test samples of this split."
        )
    unknown = sorted(set(np.unique(codes).tolist()) - set(legend.codes))
    if unknown:
        raise CallError(
            f"Predictions must be class codes of the labels, got {unknown[:5]}; "
            f"the labels hold {', '.join(map(str, legend.codes))}."
        )
    return Evaluation(
        legend=legend,
        matrix=accuracy.confusion_matrix(reference, codes, legend.codes),
        leakage=audit(split, window) if len(reference) else LeakAudit(window),
        train_counts=split.per_class("train", labels),
    )


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
    first_as_second: Places
    """Row and column (n, 2) of the pixels of the first that were taken for the second."""
    second_as_first: Places
    """Row and column (n, 2) of the pixels of the second that were taken for the first."""

    @property
    def count(self) -> int:
        """Pixels that were confused, both ways."""
        return len(self.first_as_second) + len(self.second_as_first)


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
    joined = Predictions.joined(answers)
    labels, predicted = joined.labels, joined.predicted
    wrong = np.flatnonzero(labels != predicted)
    both = np.sort([labels[wrong], predicted[wrong]], axis=0)
    pairs, counts = np.unique(both, axis=1, return_counts=True)
    places = np.stack([joined.rows, joined.cols], axis=1)
    worst = np.argsort(-counts, kind="stable")[:most]

    def taken(reference: int, answer: int) -> Places:
        return np.asarray(places[(labels == reference) & (predicted == answer)])

    found = []
    for pair in pairs[:, worst].T.tolist():
        # The class whose pixels were taken for the other more often comes first.
        first, second = sorted(pair, key=lambda code: -len(taken(code, sum(pair) - code)))
        found.append(
            ConfusedPair(first, second, taken(first, second), taken(second, first))
        )
    return found


def confusion_csv(evaluations: Mapping[str, Evaluation]) -> str:
    """Write the confusion matrices of some models as CSV text.

    Each model has its own table, whose header says that rows are the reference
    and columns the prediction.  The last column is the producer's accuracy of
    the row, the last row the user's accuracy of the column, and their corner
    the overall accuracy; a cell with nothing to divide by is empty.
    """
    return "\n".join(csv_text(_table(*item)) for item in evaluations.items())


def _table(name: str, evaluation: Evaluation) -> Iterator[list[Any]]:
    """Give the rows of one model's table."""
    matrix, legend = evaluation.matrix, evaluation.legend
    titles = [f"{each.code} {each.name}" for each in legend]
    yield [f"{name}: rows = reference, columns = predicted"]
    yield ["reference", *titles, "total", "producer's accuracy"]
    producers = accuracy.producers_accuracy(matrix)
    for title, row, share in zip(titles, matrix.tolist(), producers, strict=True):
        yield [title, *row, sum(row), _rounded(share)]
    yield ["total", *matrix.sum(axis=0).tolist(), int(matrix.sum()), ""]
    users = [_rounded(share) for share in accuracy.users_accuracy(matrix)]
    yield ["user's accuracy", *users, "", _rounded(evaluation.overall_accuracy)]


def _rounded(share: float | None) -> str:
    return "" if share is None else f"{share:.6f}"
