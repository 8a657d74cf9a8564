"""Scaling: from raw band values to the input of a classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.linalg import eigh

from hypercover.errors import ModelError
from hypercover.types import Array, Floats, Singles

ScalingKind = Literal["standard", "cleared", "principal"]

_MIN_NOISE = 0.01
"""Least noise of every band, as a share of its variance."""

_ASSUMED_NOISE = 0.1
"""Noise of every band if it cannot be estimated, as a share of its variance."""

_MIN_SNR = 1e-3
"""Directions with a lower signal-to-noise ratio are left out."""

_CONSTANT = 1e-6
"""A band whose standard deviation is below this share of its mean is constant."""

_EMPTY = 1e-12
"""A component whose variance is below this share of the largest is rounding."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Standardised bands, noise-adjusted components, or whitened principal components.

    A scaling is fitted on training pixels only and saved with the network.  Brightness
    dwarfs the faint directions in which crops differ, and whitened principal components
    amplify noise along with them.  The maximum noise fraction separates the two: it
    orders directions by their variance over the training pixels relative to that
    between neighbours, which is noise and texture within a field.  Each direction is
    scaled to unit variance times the share of it that is not noise.

    References
    ----------
    Green, Berman, Switzer, Craig: A transformation for ordering multispectral
    data in terms of image quality with implications for noise removal, IEEE
    TGRS 26(1), 1988, pp. 65-74.
    """

    mean: Singles
    """Mean of each band over the training spectra (band,)."""
    weight: Singles
    """1 / standard deviation of each band (band,), 0 for a constant band; or the matrix
    (component, band)."""

    @classmethod
    def fit(
        cls, kind: ScalingKind, spectra: Array, noise: Floats | None, components: int | None
    ) -> "Scaling":
        """Fit a kind of scaling to the spectra (n, band) of training pixels.

        ``noise`` is only used by ``cleared``; ``components``, their largest number, by
        ``cleared`` and ``principal``.
        """
        if kind == "standard" or components is None:
            return cls.standard(spectra)
        if kind == "cleared":
            return cls.noise_adjusted(spectra, noise, components)
        return cls.whitened(spectra, components)

    @classmethod
    def standard(cls, spectra: Array) -> "Scaling":
        """Fit the mean and standard deviation of each band of spectra (n, band)."""
        values = spectra.astype(np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0)
        varies = spread > _CONSTANT * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
        weight = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        return cls(mean.astype(np.float32), weight.astype(np.float32))

    @classmethod
    def noise_adjusted(
        cls, spectra: Array, noise: Floats | None, components: int
    ) -> "Scaling":
        """Fit the directions of the maximum noise fraction.

        Parameters
        ----------
        spectra : array (n, band)
            Spectra of the training pixels.
        noise : array (band, band), optional
            Covariance of the noise in raw units; None if unknown.
        components : int
            Largest number of directions.
        """
        plain = cls.standard(spectra)
        weight = plain.weight.astype(np.float64)
        standard = (spectra.astype(np.float64) - plain.mean) * weight
        total = standard.T @ standard / len(standard)
        if noise is None:
            noise, floor = np.zeros_like(total), _ASSUMED_NOISE
        else:
            noise, floor = weight[:, None] * noise * weight, _MIN_NOISE
        minimum = floor * np.eye(len(total))
        ratios, directions = eigh(total + minimum, noise + minimum)
        ratios, directions = ratios[::-1][:components], directions.T[::-1][:components]
        signal = np.maximum(ratios - 1, 0)
        count = max(1, int((signal > _MIN_SNR).sum()))
        scale = signal / ratios**1.5
        matrix = (_fix_signs(directions) * scale[:, None])[:count]
        return cls(plain.mean, (matrix * weight).astype(np.float32, order="C"))

    @classmethod
    def whitened(cls, spectra: Array, components: int) -> "Scaling":
        """Fit the principal components of spectra (n, band), each with variance 1.

        There are ``components`` of them, or as many as bands; those without variance
        are set to 0.
        """
        values = spectra.astype(np.float64)
        mean = values.mean(axis=0)
        values -= mean
        variances, directions = eigh(values.T @ values / max(1, len(values) - 1))
        variances = variances[::-1][:components]
        directions = _fix_signs(directions.T[::-1][:components])
        varies = variances > _EMPTY * max(variances[0], np.finfo(np.float64).tiny)
        scale = np.where(varies, 1 / np.sqrt(np.where(varies, variances, 1)), 0)
        matrix = (directions * scale[:, None]).astype(np.float32, order="C")
        return cls(mean.astype(np.float32), matrix)

    @property
    def bands(self) -> int:
        """Number of bands of the input."""
        return len(self.mean)

    @property
    def outputs(self) -> int:
        """Number of values per pixel of the output."""
        return len(self.weight)

    def apply(self, stack: Array) -> torch.Tensor:
        """Scale a stack (n, band, row, col) into a new float32 tensor."""
        values = np.subtract(stack, self.mean[:, None, None], dtype=np.float32)
        if self.weight.ndim == 1:
            values *= self.weight[:, None, None]
            return torch.from_numpy(values)
        count, bands, rows, cols = values.shape
        flat = torch.from_numpy(values).view(count, bands, rows * cols)
        scaled = torch.from_numpy(self.weight) @ flat
        return scaled.view(count, self.outputs, rows, cols)

    def arrays(self) -> dict[str, Singles]:
        """Return the arrays to save."""
        return {"scaling.mean": self.mean.copy(), "scaling.weight": self.weight.copy()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], bands: int, *, matrix: bool
    ) -> "Scaling":
        """Return a scaling from saved arrays; ``matrix``: whether it has components.

        Raises
        ------
        ModelError
            If an array is missing, has another type or shape, or is not finite.
        """
        for name in ("scaling.mean", "scaling.weight"):
            array = arrays.get(name)
            if array is None or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ModelError(
                    f"The saved model has no finite float32 array {name}; save the model again."
                )
        mean, weight = (
            np.array(arrays[f"scaling.{part}"], order="C") for part in ("mean", "weight")
        )
        fits = mean.shape == weight.shape[-1:] == (bands,)
        if not fits or weight.ndim != 1 + matrix:
            raise ModelError(
                f"The saved model scales {mean.shape} by {weight.shape}, which does not fit its "
                f"{bands} bands; save the model again."
            )
        return cls(mean, weight)


def _fix_signs(directions: Floats) -> Floats:
    """Make the largest weight of each direction positive.

    ``eigh`` leaves the sign open.
    """
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    signed: Floats = directions * signs[:, None]
    return signed
