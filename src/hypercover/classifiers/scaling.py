"""Scaling: raw band values to the values a network takes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hypercover.errors import ModelError

__all__ = ["Scaling"]

_FLOOR = 0.3
"""Added to the variance of every whitened direction, in units of one band's."""
_SAME = 1e-6
"""A band whose spread is below this share of its mean is constant."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Standardised bands, or whitened directions of them, from training spectra.

    Why it exists: what scales the input must be fitted on training pixels alone
    and travel with the network.  Whitening gives the faint directions, in which
    one crop differs from another, nearly the weight of brightness; a floor on
    their variance keeps noise from being blown up with them.
    """

    mean: npt.NDArray[np.float32]
    """Mean of each band over the training spectra (band,)."""
    weight: npt.NDArray[np.float32]
    """Per band 1 / standard deviation (band,), 0 for a constant band; or the
    whitening matrix (component, band)."""

    @classmethod
    def fitted(cls, spectra: npt.NDArray[np.generic], components: int | None) -> "Scaling":
        """Learn from training spectra (n, band); ``components`` None: only standardise."""
        values = spectra.astype(np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0)
        varies = spread > _SAME * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
        weight = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        if components is not None:
            weight = _whitening((values - mean) * weight, components) * weight
        return cls(mean.astype(np.float32), weight.astype(np.float32, order="C"))

    @property
    def bands(self) -> int:
        """Number of bands it takes."""
        return len(self.mean)

    @property
    def outputs(self) -> int:
        """Number of values per pixel it gives."""
        return len(self.weight)

    def apply(self, stack: npt.NDArray[np.generic]) -> torch.Tensor:
        """Scale a stack (n, band, row, col) into a float32 tensor, one copy made."""
        values = np.subtract(stack, self.mean[:, None, None], dtype=np.float32)
        if self.weight.ndim == 1:
            values *= self.weight[:, None, None]
            return torch.from_numpy(values)
        count, bands, rows, cols = values.shape
        flat = torch.from_numpy(values).view(count, bands, rows * cols)
        scaled = torch.from_numpy(self.weight) @ flat
        return scaled.view(count, self.outputs, rows, cols)

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return what must be saved."""
        return {"scaling.mean": self.mean.copy(), "scaling.weight": self.weight.copy()}

    @classmethod
    def restored(
        cls, arrays: Mapping[str, npt.NDArray[np.generic]], bands: int, whitens: bool
    ) -> "Scaling":
        """Take saved arrays back after checking them.

        Raises
        ------
        ModelError
            If an array is missing, has another type or shape, or is not finite.
        """
        mean, weight = (_checked(arrays, f"scaling.{part}") for part in ("mean", "weight"))
        fits = weight.ndim == 2 if whitens else weight.shape == (bands,)
        if mean.shape != (bands,) or not fits or weight.shape[-1] != bands:
            raise ModelError(
                f"The saved model scales {mean.shape} by {weight.shape}, which does not "
                f"fit its {bands} bands; the file is damaged, save the model again."
            )
        return cls(mean, weight)


def _whitening(
    standard: npt.NDArray[np.float64], components: int
) -> npt.NDArray[np.float64]:
    """Return the matrix (component, band) to directions of nearly equal variance."""
    covariance = standard.T @ standard / len(standard)
    variances, directions = np.linalg.eigh(covariance)
    kept = slice(None, -components - 1, -1)
    largest = directions[:, kept].T
    # eigh leaves the sign open; fixing it makes equal input give equal networks
    signs = np.sign(largest[np.arange(len(largest)), np.abs(largest).argmax(axis=1)])
    scale = signs / np.sqrt(np.maximum(variances[kept], 0) + _FLOOR)
    whitening: npt.NDArray[np.float64] = largest * scale[:, None]
    return whitening


def _checked(
    arrays: Mapping[str, npt.NDArray[np.generic]], name: str
) -> npt.NDArray[np.float32]:
    array = arrays.get(name)
    if array is None or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ModelError(
            f"The saved model has no finite float32 array {name!r}; the file is damaged, "
            "save the model again."
        )
    return array.astype(np.float32, order="C")
