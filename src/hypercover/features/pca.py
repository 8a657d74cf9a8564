"""Principal components: the few directions in which the spectra of a scene differ most."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import eigh

from hypercover.features.feature import Progress
from hypercover.features.linear import Projection
from hypercover.features.spectral import (
    check_variance,
    mean_and_covariance,
    signed,
)
from hypercover.scene.scene import Scene

__all__ = ["PCA"]


@dataclass
class PCA(Projection):
    """Project spectra on the directions of largest variance.

    Why it exists: the plainest image feature, and the yardstick of the others.
    Bands are centred and keep their units; covariance and projection run
    through the scene block by block, so a scene may be larger than memory.

    Attributes
    ----------
    mean_ : array (band,)
        Mean of each band over all pixels with data.
    directions_ : array (band, component)
        Unit vectors; the largest entry of each is positive.
    variances_ : array (component,)
        Variance of each component, falling.

    Examples
    --------
    >>> import xarray as xr
    >>> cube = np.array([[[0.0, 1, 2, 3]], [[0, 2, 4, 6.5]]])
    >>> scene = Scene(xr.DataArray(cube + 1, dims=("band", "y", "x")))
    >>> PCA(1).fit(scene).transform(scene).cube.values.astype(float).round(1).tolist()
    [[[-3.5, -1.2, 1.0, 3.7]]]
    """

    title = "PCA"
    worth = "variances"

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Learn the directions from all pixels with data; the seed changes nothing.

        Raises
        ------
        SceneError
            If the pixels vary in fewer directions than components are asked for.
        """
        self.mean_, covariance = mean_and_covariance(scene)
        variances, directions = eigh(covariance)
        variances = np.maximum(variances[::-1], 0.0)
        check_variance(variances, self.components, scene, "PCA")
        self.directions_ = signed(directions[:, ::-1][:, : self.components])
        self.variances_ = variances[: self.components]
        return self
