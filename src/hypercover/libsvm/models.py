"""LIBSVM model files: writing a fitted SVM for ``svm-predict``, and reading one.

The machines of :mod:`~hypercover.classifiers.svm.one_vs_one` have LIBSVM's layout;
only the sign of the constants (LIBSVM's rho) differs.  A model file does not hold
the scaling or reduction of the bands that the machines were trained on.

Reference: C.-C. Chang and C.-J. Lin, LIBSVM: a library for support vector
machines, ACM TIST 2(3), 2011; its file README, "Model file".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from hypercover.classifiers.bundle import codes_to_json
from hypercover.classifiers.svm.one_vs_one import OneVsOneSVMs
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import CallError, ModelError
from hypercover.files import atomic, write_text
from hypercover.libsvm.data import MOST_FEATURES, dense_values, read_lines
from hypercover.memory import check_memory
from hypercover.types import Floats


def write_ranges(
    path: str | Path, low: Floats, high: Floats, *, target: tuple[int, int] = (0, 1)
) -> None:
    """Write a range file for ``svm-scale -r``: the range of each feature, and the target.

    Parameters
    ----------
    path : path
    low, high : arrays (feature,)
        Values that are mapped to the ends of the target.
    target : pair of numbers

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    rows = (f"{at} {least!r} {most!r}\n" for at, (least, most) in enumerate(pairs, start=1))
    write_text(path, f"x\n{target[0]} {target[1]}\n" + "".join(rows))


_MOST_HEAD = 100

_MOST_LABEL = 2**31 - 1

_MOST_VALUES = 2**30
"""Values of all support vectors together: 8 GiB."""

_NEEDED = frozenset(
    ("svm_type", "kernel_type", "gamma", "nr_class", "total_sv", "rho", "label", "nr_sv")
)


@dataclass(frozen=True, eq=False)
class LibsvmModel:
    """Contents of a LIBSVM model file: pairwise machines, labels and sigmoids."""

    machines: OneVsOneSVMs
    """The machines, on the features the model was trained on."""
    labels: tuple[int, ...]
    """Label of each class in the model's order, which decides ties."""
    sigmoids: Floats | None = None
    """Slope and offset of each pair (pair, 2), LIBSVM's probA and probB; None without."""

    @property
    def n_features(self) -> int:
        """Number of features the machines see."""
        return int(self.machines.vectors.shape[1])

    def classifier(self) -> SVMClassifier:
        """Return the model as a fitted classifier of unscaled features.

        Its C is the largest weight of a support vector, a lower bound of the C it
        was trained with, which the file does not hold.
        """
        machines = self.machines
        settings = {
            "C": float(np.abs(machines.coefficients).max()) or 1.0,
            "gamma": machines.gamma,
            "width": machines.gamma,
            "classes": codes_to_json(np.array(self.labels, dtype=np.int64)),
        }
        arrays = {
            "mean": np.zeros(self.n_features),
            "scale": np.ones(self.n_features),
            "vectors": machines.vectors,
            "coefficients": machines.coefficients,
            "intercepts": machines.intercepts,
            "counts": np.array(machines.counts, dtype=np.int64),
        }
        if self.sigmoids is not None:
            arrays["sigmoids"] = self.sigmoids
        return SVMClassifier.from_state(settings, arrays)


def model_of(svm: SVMClassifier) -> LibsvmModel:
    """Return the LIBSVM model of a fitted classifier, on its scaled and reduced features.

    Raises
    ------
    ModelError
        If its classes are not integers, as LIBSVM's labels are.
    """
    classes = svm.classes_.tolist()
    if not all(type(code) is int and abs(code) <= _MOST_LABEL for code in classes):
        raise ModelError(
            "LIBSVM labels are integers, but the classes of this model are "
            f"{classes[:3]}; use codes."
        )
    return LibsvmModel(svm.machines_, tuple(classes), svm.sigmoids_)


def write_model(path: str | Path, model: LibsvmModel) -> None:
    """Write a model file for ``svm-predict``, with every digit.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    vectors = model.machines.vectors
    pairs = (f" {index}:%r" for index in range(1, vectors.shape[1] + 1))
    form = " ".join(["%r"] * len(model.machines.coefficients)) + "".join(pairs) + "\n"
    with atomic(path) as draft, draft.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(f"{key} {value}\n" for key, value in _head(model).items())
        file.write("SV\n")
        weights = model.machines.coefficients.T
        for weight, vector in zip(weights, vectors, strict=True):
            file.write(form % (*weight.tolist(), *vector.tolist()))


def _head(model: LibsvmModel) -> dict[str, str]:
    """Return the lines before the support vectors."""
    machines, columns = model.machines, {}
    if model.sigmoids is not None:
        columns = dict(zip(("probA", "probB"), model.sigmoids.T.tolist(), strict=True))
    entries: dict[str, Iterable[object]] = {
        "gamma": [float(machines.gamma)],
        "nr_class": [len(machines.counts)],
        "total_sv": [len(machines.vectors)],
        "rho": (-machines.intercepts).tolist(),
        "label": model.labels,
        **columns,
        "nr_sv": machines.counts,
    }
    head = {"svm_type": "c_svc", "kernel_type": "rbf"}
    return head | {key: " ".join(map(repr, values)) for key, values in entries.items()}


def read_model(path: str | Path, n_features: int | None = None) -> LibsvmModel:
    """Read and check a C-SVC model with an RBF kernel.

    Parameters
    ----------
    path : path
    n_features : int, optional
        Number of features, if known: a file leaves zeros out.  By default the
        largest index of the support vectors.

    Raises
    ------
    ModelError
        If the file is of another kind, damaged or cut off; the line is named.
    """
    file = Path(path)
    try:
        check_memory(4 * file.stat().st_size, str(file), "train on fewer samples")
        lines = file.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise ModelError(
            f"The model {file} cannot be read ({error.strerror}); give a LIBSVM model file."
        ) from error
    head = _Head(file)
    for text in lines[:_MOST_HEAD]:
        if not head.add(text.decode("ascii", "backslashreplace").split()):
            return head.model(lines[head.line :], n_features)
    head.fail("the line SV is missing; export the model again")


class _Head:
    """The lines of a model file before its support vectors."""

    def __init__(self, path: Path) -> None:
        self.path, self.line = path, 0
        self.entries: dict[str, list[str]] = {}

    def fail(self, why: str) -> NoReturn:
        raise ModelError(f"{self.path}, line {self.line}: {why}.")

    def add(self, words: list[str]) -> bool:
        """Take in a line; False for the line SV, after which vectors follow."""
        self.line += 1
        key, *values = words or [""]
        if key == "SV":
            missing = sorted(_NEEDED - set(self.entries))
            if missing:
                self.fail(f"the head lacks {', '.join(missing)}; export the model again")
            return False
        if key not in _NEEDED | {"probA", "probB"} or key in self.entries:
            self.fail(f"{key[:20]!r} does not belong in the head of a LIBSVM C-SVC model")
        needed = {"svm_type": "c_svc", "kernel_type": "rbf"}.get(key)
        if needed is not None and values != [needed]:
            self.fail(
                f"only models with {key} {needed} can be imported, got {' '.join(values)[:20]!r}; "
                "train with svm-train -s 0 -t 2"
            )
        self.entries[key] = values
        return True

    def model(self, lines: list[bytes], n_features: int | None) -> LibsvmModel:
        """Return the model with the support vectors of the other lines."""
        (classes,), (total,) = self._integers("nr_class", 1), self._integers("total_sv", 1)
        if classes < 2 or total < 1:
            self.fail(f"{classes} classes and {total} support vectors are not a model")
        if len(lines) != total or not lines[-1].endswith(b"\n"):
            self.fail(
                f"{total} support vectors are declared, but {len(lines)} lines follow or the last "
                "one is incomplete; export the model again"
            )
        labels, counts = self._integers("label", classes), self._integers("nr_sv", classes)
        if len(set(labels)) < len(labels):
            self.fail("a label occurs twice in the head; export the model again")
        if min(counts) < 0 or sum(counts) != total:
            self.fail(f"nr_sv does not add up to total_sv, {total}; export it again")
        pairs = classes * (classes - 1) // 2
        rho, (gamma,) = self._floats("rho", pairs), self._floats("gamma", 1).tolist()
        if gamma <= 0:
            self.fail(f"gamma must be above 0, got {gamma:g}; train with svm-train -g")
        sigmoids = None
        if {"probA", "probB"} & set(self.entries):
            sigmoids = np.stack(
                [self._floats(key, pairs) for key in ("probA", "probB")], axis=1
            )
        weights, vectors = self._vectors(lines, classes - 1, n_features)
        machines = OneVsOneSVMs(vectors, weights, -rho, tuple(counts), gamma)
        return LibsvmModel(machines, tuple(labels), sigmoids)

    def _integers(self, key: str, count: int) -> list[int]:
        numbers = self._floats(key, count)
        if (numbers != np.rint(numbers)).any() or (np.abs(numbers) > _MOST_LABEL).any():
            self.fail(f"{key} must be integers; export the model again")
        return [int(number) for number in numbers.tolist()]

    def _floats(self, key: str, count: int) -> Floats:
        words = self.entries.get(key, [])
        numbers = _floats(words)
        if len(words) != count or not np.isfinite(numbers).all():
            self.fail(
                f"{key} must be {count} finite numbers, got {len(words)} words "
                f"{' '.join(words)[:20]!r}; export the model again"
            )
        return numbers

    def _vectors(
        self, lines: list[bytes], n_weights: int, n_features: int | None
    ) -> tuple[Floats, Floats]:
        """Read weights (class - 1, vector) and support vectors (vector, feature)."""
        if n_weights * len(lines) * 2 > sum(map(len, lines)):
            self.fail("more classes are declared than the file can hold; export it again")
        weights, first = np.empty((n_weights, len(lines))), self.line + 1
        pairs = []
        for at, text in enumerate(lines):
            *words, rest = [*text.split(None, n_weights), b""][: n_weights + 1]
            numbers = _floats([word.decode("ascii", "replace") for word in words])
            if len(words) != n_weights or not np.isfinite(numbers).all():
                self.line = first + at
                self.fail("a support vector must begin with its weights; export it again")
            weights[:, at] = numbers
            pairs.append(b"0 " + rest.rstrip() + b"\n")
        try:
            most = n_features or MOST_FEATURES
            _, table = read_lines(b"".join(pairs), most, path=self.path, first=first)
        except CallError as error:
            raise ModelError(str(error)) from error
        width = n_features or int(table.indices.max(initial=0)) + 1
        if len(lines) * width > _MOST_VALUES:
            self.fail(
                f"{len(lines)} support vectors of {width} features are more than can be read"
            )
        return weights, dense_values(table, width)


def _floats(words: list[str]) -> Floats:
    """Return words as numbers, or NaN if one is not a number."""
    try:
        # Python would also accept 1_000.
        return np.array([np.nan if "_" in word else float(word) for word in words])
    except ValueError:
        return np.full(len(words), np.nan)
