"""Predictions: the classes a model assigned to the test pixels of one split."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.scene.io.numpy_files import load_arrays, save_arrays
from hypercover.scene.samples import Samples
from hypercover.types import Mask, Singles

_FIELDS: tuple[str, ...] = ("rows", "cols", "labels", "predicted")
_MAX_BYTES = 2**32
"""Unpacked bytes of the answers for 200 million test pixels: more than any labelled scene has."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """The classes a model assigned to the test pixels of one split, and its confidence.

    Block bootstraps, comparisons of models and calibration need the predictions pixel by
    pixel with their positions, which a confusion matrix does not hold.

    Examples
    --------
    >>> test = Samples.of([[0, 1, 2, 2]])
    >>> answers = Predictions.of(test, [1, 2, 1], shape=(1, 4), confidence=[0.9, 0.8, 0.6])
    >>> answers.right.tolist()
    [True, True, False]
    """

    rows: npt.NDArray[np.int32]
    """Row of each test pixel (n,)."""
    cols: npt.NDArray[np.int32]
    """Column of each test pixel (n,)."""
    labels: npt.NDArray[np.int32]
    """Class code of each test pixel (n,): the reference."""
    predicted: npt.NDArray[np.int32]
    """Predicted class code (n,)."""
    shape: tuple[int, int]
    """Rows and columns of the scene."""
    confidence: Singles | None = None
    """Confidence of each prediction (n,), 0 to 1; None if the model gives none."""

    @classmethod
    def of(
        cls,
        test: Samples,
        predicted: npt.ArrayLike,
        *,
        shape: tuple[int, int],
        confidence: npt.ArrayLike | None = None,
    ) -> "Predictions":
        """Combine the test samples of a split with their predictions, in order."""
        return cls(
            test.rows.astype(np.int32),
            test.cols.astype(np.int32),
            test.labels.astype(np.int32),
            np.asarray(predicted).astype(np.int32),
            (int(shape[0]), int(shape[1])),
            None if confidence is None else np.asarray(confidence, dtype=np.float32),
        )

    @classmethod
    def joined(cls, folds: Sequence["Predictions"]) -> "Predictions":
        """Concatenate the folds of one seed, in which each pixel was tested once.

        Confidences are kept where every fold has them.
        """
        names = _FIELDS
        if all(fold.confidence is not None for fold in folds):
            names = (*_FIELDS, "confidence")
        fields = {n: np.concatenate([getattr(fold, n) for fold in folds]) for n in names}
        return cls(**fields, shape=folds[0].shape)

    def recoded(self, codes: Mapping[int, int]) -> "Predictions":
        """Return the predictions under other class codes; codes not listed stay.

        Examples
        --------
        >>> test = Samples.of([[1, 2]])
        >>> Predictions.of(test, [2, 2], shape=(1, 2)).recoded({1: 5}).labels.tolist()
        [5, 2]
        """
        if all(code == other for code, other in codes.items()):
            return self
        used = (*codes, self.labels.max(initial=0), self.predicted.max(initial=0))
        table = np.arange(max(used) + 1, dtype=np.int32)
        for code, other in codes.items():
            table[code] = other
        return replace(self, labels=table[self.labels], predicted=table[self.predicted])

    def __len__(self) -> int:
        """Count the test pixels."""
        return len(self.labels)

    def __post_init__(self) -> None:
        """Refuse fields that are not one value a pixel, and pixels outside the scene."""
        fields = [getattr(self, name) for name in _FIELDS]
        fields += [] if self.confidence is None else [self.confidence]
        if any(values.shape != self.labels.shape or values.ndim != 1 for values in fields):
            raise CallError(
                "Predictions need one value for each test pixel in every field, got shapes "
                f"{', '.join(str(values.shape) for values in fields)}; predict them again."
            )
        if any(
            ((at < 0) | (at >= size)).any()
            for at, size in zip((self.rows, self.cols), self.shape, strict=True)
        ):
            raise CallError(
                f"A test pixel lies outside the scene of {self.shape[0]} × {self.shape[1]} "
                "pixels; predict the test samples of this scene."
            )

    @property
    def right(self) -> Mask:
        """Which predictions agree with the reference (n,)."""
        return np.asarray(self.predicted == self.labels)

    @cached_property
    def test_digest(self) -> str:
        """SHA-256 of the positions and labels of the test pixels, in hexadecimal."""
        digest = hashlib.sha256(f"{self.shape[0]}x{self.shape[1]}:".encode())
        for values in (self.rows, self.cols, self.labels):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write a compressed NumPy archive (``.npz``) of plain arrays.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        arrays: dict[str, npt.ArrayLike] = {name: getattr(self, name) for name in _FIELDS}
        arrays["shape"] = np.asarray(self.shape, dtype=np.int32)
        if self.confidence is not None:
            arrays["confidence"] = self.confidence
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Predictions":
        """Read what :meth:`save` wrote.

        Raises
        ------
        CallError
            If the file is missing, damaged, or holds something else.
        """
        try:
            arrays = load_arrays(path, _MAX_BYTES)
            if any(arrays[name].dtype.kind not in "iu" for name in (*_FIELDS, "shape")):
                raise ValueError("fields are not whole numbers")
            fields = {name: arrays[name].astype(np.int32) for name in _FIELDS}
            rows, cols = arrays["shape"].tolist()
            confidence = arrays.get("confidence")
            if confidence is not None:
                confidence = confidence.astype(np.float32)
            return cls(**fields, shape=(rows, cols), confidence=confidence)
        except FileNotFoundError:
            raise CallError(
                f"The predictions {path} are missing; run the experiment again to make them."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise CallError(
                f"{path} holds no predictions ({str(error)[:80]}); run the experiment again."
            ) from error
