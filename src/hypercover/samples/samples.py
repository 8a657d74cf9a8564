"""Samples: the labelled pixels, as positions and codes and nothing else."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Samples"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Positions and class codes of some pixels, without their values.

    Why it exists: splits, audits and windows need to know where a sample lies;
    none of them needs its spectrum.

    Examples
    --------
    >>> Samples.of([[0, 3], [2, 0]]).labels
    array([3, 2])
    """

    rows: npt.NDArray[np.intp]
    """Row of each sample (n,)."""
    cols: npt.NDArray[np.intp]
    """Column of each sample (n,)."""
    labels: npt.NDArray[np.int64]
    """Class code of each sample (n,), from 1."""

    @classmethod
    def of(cls, labels: npt.ArrayLike) -> "Samples":
        """Take every labelled pixel of a label map (y, x), row by row."""
        label_map = np.asarray(labels)
        rows, cols = np.nonzero(label_map)
        return cls(rows, cols, label_map[rows, cols].astype(np.int64))

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.labels)

    def take(self, which: npt.NDArray[np.generic]) -> "Samples":
        """Return the samples at these positions, or where a mask is true."""
        return Samples(self.rows[which], self.cols[which], self.labels[which])
