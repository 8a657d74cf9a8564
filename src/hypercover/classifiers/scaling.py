"""Scaling: raw band values to the values a network takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import eigh

from hypercover.errors import ModelError

__all__ = ["Kind", "Scaling"]

Floats = npt.NDArray[np.float64]

Kind = Literal["standard", "cleared", "principal"]

_FLOOR = 0.01
"""Noise that every band is taken to have at least, as a share of its variance."""

_ASSUMED = 0.1
"""The same share where windows of one pixel show no neighbour to measure it."""

_CLEAR = 1e-3
"""A direction whose ratio of signal to noise is below this is left out."""

_SAME = 1e-6
"""A band whose spread is below this share of its mean is constant."""

_EMPTY = 1e-12
"""A component whose variance is below this share of the largest is rounding."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Standardised bands, directions cleared of noise, or principal components.

    Why it exists: what scales the input must be fitted on training pixels alone
    and travel with the network.  Brightness dwarfs the faint directions in
    which one crop differs from another, and blowing up all faint directions,
    as whitened principal components do, blows up noise.  The maximum noise
    fraction tells them apart: it orders directions by their variance over the
    training pixels against that between neighbours, which is noise and the
    texture inside a field.  Each direction is given unit variance times the
    share of it that is not noise.

    References
    ----------
    Green, Berman, Switzer, Craig: A transformation for ordering multispectral
    data in terms of image quality with implications for noise removal, IEEE
    TGRS 26(1), 1988, pp. 65-74.
    """

    mean: npt.NDArray[np.float32]
    """Mean of each band over the training spectra (band,)."""
    weight: npt.NDArray[np.float32]
    """Per band 1 / standard deviation (band,), 0 for a constant band; or the
    matrix (component, band) to directions or components."""

    @classmethod
    def of(
        cls,
        kind: Kind,
        spectra: npt.NDArray[np.generic],
        noise: npt.NDArray[np.float64] | None,
        components: int | None,
    ) -> "Scaling":
        """Learn the scaling of a kind from the spectra (n, band) of training pixels.

        ``noise`` is used by ``cleared`` alone; ``components``, their largest
        number, by all but ``standard``.
        """
        if kind == "standard" or components is None:
            return cls.standardising(spectra)
        if kind == "cleared":
            return cls.clearing(spectra, noise, components)
        return cls.whitening(spectra, components)

    @classmethod
    def standardising(cls, spectra: npt.NDArray[np.generic]) -> "Scaling":
        """Learn mean and standard deviation of each band from spectra (n, band)."""
        values = spectra.astype(np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0)
        varies = spread > _SAME * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
        weight = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        return cls(mean.astype(np.float32), weight.astype(np.float32))

    @classmethod
    def clearing(
        cls,
        spectra: npt.NDArray[np.generic],
        noise: npt.NDArray[np.float64] | None,
        components: int,
    ) -> "Scaling":
        """Learn the directions that stand out of the noise.

        Parameters
        ----------
        spectra : array (n, band)
            Spectra of the training pixels.
        noise : array (band, band), optional
            Covariance of the noise in raw units; not known where windows are
            one pixel wide.
        components : int
            Directions to keep at most.
        """
        plain = cls.standardising(spectra)
        weight = plain.weight.astype(np.float64)
        standard = (spectra.astype(np.float64) - plain.mean) * weight
        total = standard.T @ standard / len(standard)
        if noise is None:
            noise, floor = np.zeros_like(total), _ASSUMED
        else:
            noise, floor = weight[:, None] * noise * weight, _FLOOR
        least = floor * np.eye(len(total))
        directions = _noise_adjusted_components(total + least, noise + least, components)
        return cls(plain.mean, (directions * weight).astype(np.float32, order="C"))

    @classmethod
    def whitening(cls, spectra: npt.NDArray[np.generic], components: int) -> "Scaling":
        """Learn the principal components of spectra (n, band), each of variance 1.

        There are as many as asked for, or as bands where these are fewer; those
        in which the spectra do not differ are silenced.
        """
        values = spectra.astype(np.float64)
        mean = values.mean(axis=0)
        values -= mean
        variances, directions = eigh(values.T @ values / max(1, len(values) - 1))
        variances = variances[::-1][:components]
        directions = _fix_signs(directions.T[::-1][:components])
        there = variances > _EMPTY * max(variances[0], np.finfo(np.float64).tiny)
        scale = np.where(there, 1 / np.sqrt(np.where(there, variances, 1)), 0)
        matrix = (directions * scale[:, None]).astype(np.float32, order="C")
        return cls(mean.astype(np.float32), matrix)

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
        cls, arrays: Mapping[str, npt.NDArray[np.generic]], bands: int, clears: bool
    ) -> "Scaling":
        """Take saved arrays back after checking them.

        Raises
        ------
        ModelError
            If an array is missing, has another type or shape, or is not finite.
        """
        mean, weight = (
            _float32_array(arrays, f"scaling.{part}") for part in ("mean", "weight")
        )
        fits = weight.ndim == 2 if clears else weight.shape == (bands,)
        if mean.shape != (bands,) or not fits or weight.shape[-1] != bands:
            raise ModelError(
                f"The saved model scales {mean.shape} by {weight.shape}, which does not "
                f"fit its {bands} bands; the file is damaged, save the model again."
            )
        return cls(mean, weight)


def _noise_adjusted_components(
    total: npt.NDArray[np.float64], noise: npt.NDArray[np.float64], components: int
) -> npt.NDArray[np.float64]:
    """Return the matrix (component, band) to directions cleared of noise, best first."""
    ratios, directions = eigh(total, noise)
    ratios, directions = ratios[::-1][:components], directions.T[::-1][:components]
    clear = np.maximum(ratios - 1, 0)
    kept = slice(max(1, int((clear > _CLEAR).sum())))
    scale = clear / ratios**1.5
    matrix: npt.NDArray[np.float64] = (_fix_signs(directions) * scale[:, None])[kept]
    return matrix


def _fix_signs(directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Make the largest weight of each direction positive.

    ``eigh`` leaves the sign open; fixing it makes equal input give equal networks.
    """
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    signed: npt.NDArray[np.float64] = directions * signs[:, None]
    return signed


def _float32_array(
    arrays: Mapping[str, npt.NDArray[np.generic]], name: str
) -> npt.NDArray[np.float32]:
    array = arrays.get(name)
    if array is None or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ModelError(
            f"The saved model has no finite float32 array {name!r}; the file is damaged, "
            "save the model again."
        )
    return array.astype(np.float32, order="C")
