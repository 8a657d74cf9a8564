"""LIBSVM model files: a fitted SVM as the text that ``svm-predict`` reads, and back.

The machines of :mod:`~hypercover.classifiers.svm.one_vs_one` have LIBSVM's own layout,
so nothing is converted but the sign of the constants (LIBSVM's rho).  What a
file does not hold is the scaling: a model sees scaled, perhaps reduced bands.

Reference: C.-C. Chang and C.-J. Lin, LIBSVM: a library for support vector
machines, ACM TIST 2(3), 2011; its file README, "Model file".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.bundle import codes_to_json
from hypercover.classifiers.svm.one_vs_one import OneVsOneMachines
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import ModelError
from hypercover.files import atomic, write_text

__all__ = [
    "LibsvmModel",
    "model_of",
    "read_model",
    "read_range",
    "write_model",
    "write_range",
    "write_ranges",
]

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


_LONGEST = 2**26
"""Bytes a line may have."""

_MOST_HEAD = 100

_MOST_LABEL = 2**31 - 1

_MOST_FEATURES = 1_000_000

_MOST_VALUES = 2**30
"""Values of all support vectors together: 8 GiB."""

_NEEDED = frozenset(
    ("svm_type", "kernel_type", "gamma", "nr_class", "total_sv", "rho", "label", "nr_sv")
)

_KEYS = _NEEDED | {"probA", "probB"}


@dataclass(frozen=True, eq=False)
class LibsvmModel:
    """What a LIBSVM model file holds: pairwise machines, the labels, perhaps sigmoids."""

    machines: OneVsOneMachines
    """The machines, on whatever the model was trained on."""
    labels: tuple[int, ...]
    """Label of each class in the model's order, in which it breaks ties."""
    sigmoids: Floats | None = None
    """Slope and offset of each pair (pair, 2): probA and probB."""

    @property
    def n_features(self) -> int:
        """Number of features the machines see."""
        return int(self.machines.vectors.shape[1])

    def classifier(
        self, mean: Floats | None = None, scale: Floats | None = None
    ) -> SVMClassifier:
        """Return the model as a fitted classifier that scales by (x - mean) / scale.

        Its C is the largest weight of a support vector: the file does not hold C,
        which is at least that.
        """
        machines = self.machines
        settings = {
            "C": float(np.abs(machines.coefficients).max()) or 1.0,
            "gamma": machines.gamma,
            "width": machines.gamma,
            "classes": codes_to_json(np.array(self.labels, dtype=np.int64)),
        }
        arrays = {
            "mean": np.zeros(self.n_features) if mean is None else mean,
            "scale": np.ones(self.n_features) if scale is None else scale,
            "vectors": machines.vectors,
            "coefficients": machines.coefficients,
            "intercepts": machines.intercepts,
            "counts": np.array(machines.counts, dtype=np.int64),
        }
        if self.sigmoids is not None:
            arrays["sigmoids"] = self.sigmoids
        return SVMClassifier.from_state(settings, arrays)


def model_of(svm: SVMClassifier) -> LibsvmModel:
    """Return the LIBSVM model of a fitted classifier: its machines on what they see.

    Raises
    ------
    ModelError
        If its classes are not whole numbers, as LIBSVM's labels are.
    """
    classes = svm.classes_.tolist()
    if not all(type(code) is int and abs(code) <= _MOST_LABEL for code in classes):
        raise ModelError(
            f"LIBSVM labels are whole numbers, but this model knows {classes[:3]}; train it "
            "with class codes."
        )
    return LibsvmModel(svm.machines_, tuple(classes), svm.sigmoids_)


def write_model(path: str | Path, model: LibsvmModel) -> None:
    """Write a model file that ``svm-predict`` accepts, with every digit.

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
    machines = model.machines
    head = {
        "svm_type": "c_svc",
        "kernel_type": "rbf",
        "gamma": repr(float(machines.gamma)),
        "nr_class": str(len(machines.counts)),
        "total_sv": str(len(machines.vectors)),
        "rho": _spaced((-machines.intercepts).tolist()),
        "label": _spaced(model.labels),
    }
    if model.sigmoids is not None:
        head["probA"] = _spaced(model.sigmoids[:, 0].tolist())
        head["probB"] = _spaced(model.sigmoids[:, 1].tolist())
    return head | {"nr_sv": _spaced(machines.counts)}


def _spaced(values: Any) -> str:
    return " ".join(map(repr, values))


def read_model(path: str | Path, n_features: int | None = None) -> LibsvmModel:
    """Read a C-SVC model with an RBF kernel, checking every line.

    Parameters
    ----------
    path : path
    n_features : int, optional
        Number of features, where it is known: a file leaves zeros out.  The
        largest index of the support vectors otherwise.

    Raises
    ------
    ModelError
        If the file is of another kind, damaged or cut off; the line is named.
    """
    return _Reading(Path(path)).model(n_features)


class _Reading:
    """One model file under way: which line is read, and what was said before."""

    def __init__(self, path: Path) -> None:
        self.path, self.line = path, 0
        self.head: dict[str, list[str]] = {}

    def refused(self, why: str) -> ModelError:
        return ModelError(f"{self.path}, line {self.line}: {why}.")

    def model(self, n_features: int | None) -> LibsvmModel:
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as file:
                texts = self._texts(file)
                self._read_head(texts)
                return self._checked_model(texts, size, n_features)
        except OSError as error:
            raise ModelError(
                f"The model {self.path} cannot be read ({error.strerror}); give a LIBSVM "
                "model file."
            ) from error

    def _texts(self, file: BinaryIO) -> Iterator[str]:
        """Read line by line, none of them without end."""
        while text := file.readline(_LONGEST + 1):
            self.line += 1
            if len(text) > _LONGEST:
                raise self.refused(f"the line is longer than {_LONGEST >> 20} MiB")
            if not text.endswith(b"\n"):
                raise self.refused(
                    "the last line has no line break, so the file may be cut off; export "
                    "the model again"
                )
            yield text.decode("ascii", "backslashreplace")

    def _read_head(self, texts: Iterator[str]) -> None:
        """Read the lines up to SV."""
        for text in texts:
            key, *words = text.split() or [""]
            if key == "SV":
                break
            if key not in _KEYS or key in self.head or self.line > _MOST_HEAD:
                raise self.refused(
                    f"{key[:20]!r} does not belong into the head of a LIBSVM C-SVC model"
                )
            self.head[key] = words
            self._check_kind(key, words)
        missing = sorted(_NEEDED - set(self.head))
        if missing:
            raise self.refused(
                f"the head lacks {', '.join(missing)}; export the model again"
            )

    def _check_kind(self, key: str, words: list[str]) -> None:
        """Refuse another SVM or kernel as soon as it is named."""
        known = {"svm_type": "c_svc", "kernel_type": "rbf"}.get(key)
        if known is not None and words != [known]:
            raise self.refused(
                f"only models with {key} {known} can be imported, got "
                f"{' '.join(words)[:20]!r}; train with svm-train -s 0 -t 2"
            )

    def _checked_model(
        self, texts: Iterator[str], size: int, n_features: int | None
    ) -> LibsvmModel:
        """Read the numbers of the head, then the support vectors."""
        (classes,), (total,) = self._whole("nr_class", 1), self._whole("total_sv", 1)
        # Every weight takes two bytes at least: what is declared must fit into the file.
        if classes < 2 or total < 1 or (classes - 1) * total * 2 > size:
            raise self.refused(
                f"{classes} classes and {total} support vectors are declared, which this "
                "file cannot hold; export the model again"
            )
        labels, counts = self._whole("label", classes), self._whole("nr_sv", classes)
        pairs = classes * (classes - 1) // 2
        rho, (gamma,) = self._floats("rho", pairs), self._floats("gamma", 1).tolist()
        self._check_agreement(labels, counts, total, gamma)
        sigmoids = self._sigmoids(pairs)
        weights, vectors = self._vectors(texts, (classes - 1, total), n_features)
        machines = OneVsOneMachines(vectors, weights, -rho, tuple(counts), gamma)
        return LibsvmModel(machines, tuple(labels), sigmoids)

    def _check_agreement(
        self, labels: list[int], counts: list[int], total: int, gamma: float
    ) -> None:
        """Refuse a head that contradicts itself."""
        if len(set(labels)) < len(labels):
            raise self.refused("a label stands twice in the head; export the model again")
        if min(counts) < 0 or sum(counts) != total:
            raise self.refused(
                f"nr_sv does not add up to total_sv, {total}; export it again"
            )
        if gamma <= 0:
            raise self.refused(
                f"gamma must be above 0, got {gamma:g}; train with svm-train -g"
            )

    def _sigmoids(self, pairs: int) -> Floats | None:
        """Return the sigmoids (pair, 2) of a model with probabilities."""
        if "probA" not in self.head and "probB" not in self.head:
            return None
        return np.stack([self._floats(key, pairs) for key in ("probA", "probB")], axis=1)

    def _whole(self, key: str, count: int) -> list[int]:
        numbers = self._floats(key, count)
        if (numbers != np.rint(numbers)).any() or (np.abs(numbers) > _MOST_LABEL).any():
            raise self.refused(f"{key} must be whole numbers; export the model again")
        return [int(number) for number in numbers.tolist()]

    def _floats(self, key: str, count: int) -> Floats:
        words = self.head.get(key, [])
        numbers = self._numbers(words)
        if len(words) != count or not np.isfinite(numbers).all():
            raise self.refused(
                f"{key} must be {count} finite numbers, got {len(words)} words "
                f"{' '.join(words)[:20]!r}; export the model again"
            )
        return numbers

    def _numbers(self, words: list[str]) -> Floats:
        """Read words as numbers, NaN where one is none."""
        try:
            return np.array([_number(word) for word in words], dtype=np.float64)
        except ValueError:
            return np.full(len(words), np.nan)

    def _vectors(
        self, texts: Iterator[str], shape: tuple[int, int], n_features: int | None
    ) -> tuple[Floats, Floats]:
        """Read weights (class - 1, vector) and support vectors (vector, feature)."""
        n_weights, total = shape
        weights = np.empty(shape)
        places: list[npt.NDArray[np.int64]] = []
        values: list[Floats] = []
        most = n_features or _MOST_FEATURES
        for text in texts:
            if len(places) == total:
                raise self.refused(f"more lines follow than {total} support vectors")
            words = text.split()
            weights[:, len(places)] = self._finite(words[:n_weights], n_weights)
            place, value = self._pairs(words[n_weights:], most)
            places.append(place)
            values.append(value)
        if len(places) < total:
            raise self.refused(
                f"the file ends after {len(places)} of {total} support vectors; it is cut off"
            )
        largest = max(int(place.max(initial=1)) for place in places)
        return weights, self._dense(places, values, n_features or largest)

    def _dense(
        self, places: list[npt.NDArray[np.int64]], values: list[Floats], n_features: int
    ) -> Floats:
        if len(places) * n_features > _MOST_VALUES:
            raise self.refused(
                f"{len(places)} support vectors of {n_features} features are more than can "
                "be read"
            )
        vectors = np.zeros((len(places), n_features))
        for row, (place, value) in enumerate(zip(places, values, strict=True)):
            vectors[row, place - 1] = value
        return vectors

    def _pairs(self, words: list[str], most: int) -> tuple[npt.NDArray[np.int64], Floats]:
        """Read index:value pairs whose indices rise from 1."""
        parts = [word.partition(":") for word in words]
        numbers = self._finite([before for before, _, _ in parts], len(parts))
        places = np.where(np.abs(numbers) <= _MOST_LABEL, numbers, 0).astype(np.int64)
        if (places != numbers).any() or (np.diff(places, prepend=0) <= 0).any():
            raise self.refused(
                "the indices of a support vector must be whole and rise from 1"
            )
        if places.max(initial=0) > most:
            raise self.refused(
                f"the index {places[-1]} is above the number of features, {most}; give the "
                "image the model was made for"
            )
        return places, self._finite([after for _, _, after in parts], len(parts))

    def _finite(self, words: list[str], count: int) -> Floats:
        numbers = self._numbers(words)
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise self.refused(
                "a support vector must be its weights and pairs index:value of finite "
                f"numbers, got {' '.join(words)[:30]!r}"
            )
        return numbers


def _number(word: str) -> float:
    """Read a number as C does: Python would also take 1_000."""
    if "_" in word:
        raise ValueError(word)
    return float(word)
