"""Minimum noise fraction transform of the spectra of a scene."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import eigh

from hypercover.errors import SceneError
from hypercover.features.pca import Projection
from hypercover.features.spectral_features import (
    check_variance,
    fix_signs,
    mean_and_covariance,
    varying_bands,
)
from hypercover.scene.scene import Scene
from hypercover.types import Floats, Progress

_FLOOR = 1e-9
"""Noise added to every band as a share of its variance, so that duplicate bands do no harm."""


@dataclass
class MNF(Projection):
    """Minimum noise fraction: directions ordered by their signal-to-noise ratio.

    Works on scenes, not on arrays: the noise is estimated from the differences
    between neighbouring pixels.  Components are scaled to unit noise variance, so
    the variance of a component is its ratio of signal plus noise to noise.

    Attributes
    ----------
    mean_ : array (band,)
        Mean of each band over all valid pixels.
    directions_ : array (band, component)
        Weights of the bands; the largest entry of each component is positive.
    ratios_ : array (component,)
        Variance of each component in units of its noise, in descending order.

    References
    ----------
    Green, Berman, Switzer, Craig: A transformation for ordering multispectral
    data in terms of image quality with implications for noise removal, IEEE
    TGRS 26(1), 1988, pp. 65-74.

    Examples
    --------
    >>> cube = np.random.default_rng(0).random((6, 9, 8)) + 1
    >>> mnf = MNF(2).fit(Scene.from_array(cube))
    >>> mnf.transform(Scene.from_array(cube)).cube.shape, bool(np.all(np.diff(mnf.ratios_) < 0))
    ((2, 9, 8), True)
    """

    components: int = 10
    """Number of components."""

    title = "MNF"
    worth = "ratios"

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Fit to all valid pixels; ``seed`` is ignored.

        Raises
        ------
        SceneError
            If the spectra vary in fewer directions than there are components, or
            no two valid pixels are adjacent.
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
    """Estimate the noise covariance (band, band) from neighbouring pixels.

    It is half the mean square of their differences, which contain the noise of both.
    Changes of the land between neighbours count as noise.

    Raises
    ------
    SceneError
        If no two valid pixels are adjacent.
    """
    square, pairs = np.zeros((scene.n_bands, scene.n_bands)), 0
    for difference in _differences(scene):
        square += difference @ difference.T
        pairs += difference.shape[1]
    if pairs == 0:
        raise SceneError(
            f"MNF estimates noise from adjacent pixels, and {scene.name} has no two adjacent "
            "valid pixels; use pca instead."
        )
    return square / (2 * pairs)


def _differences(scene: Scene) -> Iterator[Floats]:
    """Yield the differences (band, n) to the right and lower neighbours, row by row."""
    rows, cols = scene.shape
    for strip in scene.strips():
        # One more row, for the pairs between two strips.
        part = slice(strip.start, min(strip.stop + 1, rows))
        cube, valid = scene.read(part, slice(None)), scene.valid[part]
        line = cube[:, 0].astype(np.float64)
        for row in range(strip.stop - strip.start):
            yield np.diff(line)[:, valid[row, 1:] & valid[row, : cols - 1]]
            if row + 1 < len(valid):
                below = cube[:, row + 1].astype(np.float64)
                yield (below - line)[:, valid[row] & valid[row + 1]]
                line = below
