"""Minimum noise fraction: directions of the spectrum in the order of their signal to noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import eigh

from hypercover.errors import SceneError
from hypercover.features.feature import Progress
from hypercover.features.pca import Projection
from hypercover.features.spectral_features import (
    Floats,
    check_variance,
    fix_signs,
    mean_and_covariance,
    varying_bands,
)
from hypercover.scene.scene import Scene

__all__ = ["MNF"]

_FLOOR = 1e-9
"""Noise every band is taken to have at least, as a share of its variance, so that bands
that repeat each other can be told apart from nothing."""


@dataclass
class MNF(Projection):
    """Project spectra on the directions in which signal stands out of noise most.

    Why it exists: principal components follow variance, and noise has variance
    too.  Noise is measured by the differences of pixels side by side, right and
    below; a component is scaled so that its noise has the variance 1, so its
    own variance is its ratio of signal and noise to noise.

    Attributes
    ----------
    mean_ : array (band,)
        Mean of each band over all pixels with data.
    directions_ : array (band, component)
        Weights of the bands; the largest of each component is positive.
    ratios_ : array (component,)
        Variance of each component, noise having 1, falling.

    References
    ----------
    Green, Berman, Switzer, Craig: A transformation for ordering multispectral
    data in terms of image quality with implications for noise removal, IEEE
    TGRS 26(1), 1988, pp. 65-74.
    """

    components: int = 10
    """How many components."""

    title = "MNF"
    worth = "ratios"

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Learn the directions from all pixels with data; the seed changes nothing.

        Raises
        ------
        SceneError
            If the pixels vary in fewer directions than components are asked
            for, or no two pixels with data lie side by side.
        """
        self.mean_, covariance = mean_and_covariance(scene)
        spread = np.sqrt(np.diag(covariance))
        some = varying_bands(self.mean_, spread)
        weight = np.divide(1.0, spread, out=np.zeros_like(spread), where=some)
        total = weight[:, None] * covariance * weight
        noise = weight[:, None] * noise_covariance(scene) * weight
        variances = np.maximum(np.linalg.eigvalsh(total)[::-1], 0.0)
        check_variance(variances, self.components, scene, "MNF")
        ratios, directions = eigh(total, noise + _FLOOR * np.eye(len(noise)))
        leading = slice(None, -self.components - 1, -1)
        self.directions_ = fix_signs(directions[:, leading] * weight[:, None])
        self.ratios_ = ratios[leading]
        return self


def noise_covariance(scene: Scene) -> Floats:
    """Return the covariance (band, band) of the noise, from neighbouring pixels.

    Two neighbours differ by the noise of both, so half the mean square of the
    differences is taken.  Land that changes between them counts as noise.

    Raises
    ------
    SceneError
        If no two pixels with data lie side by side.
    """
    square, pairs = np.zeros((scene.n_bands, scene.n_bands)), 0
    for difference in _differences(scene):
        square += difference @ difference.T
        pairs += difference.shape[1]
    if pairs == 0:
        raise SceneError(
            f"MNF measures noise by pixels side by side, and {scene.name} has no two of "
            "them with data; use pca instead."
        )
    return square / (2 * pairs)


def _differences(scene: Scene) -> Iterator[Floats]:
    """Go through the rows: differences (band, n) to the right and to the row below."""
    rows, cols = scene.shape
    for strip in scene.strips():
        # One row more, so that no pair between two strips is lost.
        part = slice(strip.start, min(strip.stop + 1, rows))
        cube, valid = scene.read(part, slice(None)), scene.valid[part]
        line = cube[:, 0].astype(np.float64)
        for row in range(strip.stop - strip.start):
            yield np.diff(line)[:, valid[row, 1:] & valid[row, : cols - 1]]
            if row + 1 < len(valid):
                below = cube[:, row + 1].astype(np.float64)
                yield (below - line)[:, valid[row] & valid[row + 1]]
                line = below
