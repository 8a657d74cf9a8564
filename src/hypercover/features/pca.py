"""Principal component analysis of the spectra of a scene."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from scipy.linalg import eigh

from hypercover.features.feature import Count, SavedSettings, Settings, saved_array
from hypercover.features.spectral_features import (
    check_band_count,
    check_bands,
    check_components,
    check_variance,
    fix_signs,
    map_spectra,
    mean_and_covariance,
)
from hypercover.scene.scene import Scene
from hypercover.types import Arrays, Floats, Progress


class _ProjectionSettings(SavedSettings):
    components: Count


@dataclass
class Projection:
    """Linear projection of centred spectra, the base class of `PCA` and `MNF`.

    ``fit`` sets ``mean_`` (band,), ``directions_`` (band, component) and an array
    (component,) that ranks the directions.
    """

    components: int = 5
    """Number of components."""

    title: ClassVar[str]
    """Name of the feature; its bands are named in lower case."""
    worth: ClassVar[str]
    """Name of the array that ranks the directions, without its underscore."""
    mean_: Floats = field(init=False, repr=False, compare=False)
    directions_: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the number of components."""
        self.components = check_components(self.components, self.title)

    @property
    def reach(self) -> int:
        """Radius in pixels of the neighbourhood a value depends on: 0."""
        return 0

    def outputs(self, bands: int) -> int:
        """Return the number of components."""
        check_band_count(self.components, bands, self.title)
        return self.components

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene of components, with bands named ``pca1``, ``pca2``, …."""
        check_bands(scene, len(self.mean_), self.title)
        name = self.title.lower()
        names = [f"{name}{number}" for number in range(1, self.components + 1)]
        return map_spectra(scene, self._project, names, progress)

    def _project(self, spectra: Floats) -> Floats:
        return np.asarray((spectra - self.mean_) @ self.directions_)

    def state(self) -> tuple[Settings, Arrays]:
        """Return the fitted feature as JSON-able settings and arrays."""
        arrays: Arrays = {
            "mean": self.mean_,
            "directions": self.directions_,
            self.worth: getattr(self, f"{self.worth}_"),
        }
        return {"components": self.components}, arrays

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Restore a fitted feature from its `state`.

        Raises
        ------
        ModelError
            If the state is incomplete or inconsistent.
        """
        feature = cls(_ProjectionSettings.read(settings).components)
        feature.mean_ = saved_array(arrays, "mean", None)
        shape = len(feature.mean_), feature.components
        feature.directions_ = saved_array(arrays, "directions", *shape)
        weights = saved_array(arrays, feature.worth, feature.components)
        setattr(feature, f"{feature.worth}_", weights)
        return feature


@dataclass
class PCA(Projection):
    """Principal component analysis of all spectra of a scene.

    Works on scenes, not on arrays: use `sklearn.decomposition.PCA` on spectra
    (n, band).  Bands are centred but not scaled.  The scene is read block by block,
    so it may be larger than memory.

    Attributes
    ----------
    mean_ : array (band,)
        Mean of each band over all valid pixels.
    directions_ : array (band, component)
        Unit vectors; the largest entry of each is positive.
    variances_ : array (component,)
        Variance of each component, in descending order.

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
        """Fit to all valid pixels; ``seed`` is ignored.

        Raises
        ------
        SceneError
            If the spectra vary in fewer directions than there are components.
        """
        self.mean_, covariance = mean_and_covariance(scene)
        variances, directions = eigh(covariance)
        variances = np.maximum(variances[::-1], 0.0)
        check_variance(variances, self.components, scene, "PCA")
        self.directions_ = fix_signs(directions[:, ::-1][:, : self.components])
        self.variances_ = variances[: self.components]
        return self
