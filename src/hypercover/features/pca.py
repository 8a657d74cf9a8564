"""Principal components: the few directions in which the spectra of a scene differ most."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from scipy.linalg import eigh

from hypercover.features.feature import (
    Arrays,
    Count,
    Progress,
    SavedSettings,
    Settings,
    saved_array,
)
from hypercover.features.spectral_features import (
    Floats,
    check_band_count,
    check_bands,
    check_components,
    check_variance,
    fix_signs,
    map_spectra,
    mean_and_covariance,
)
from hypercover.scene.scene import Scene

__all__ = ["PCA", "Projection"]


class _ProjectionSettings(SavedSettings):
    components: Count


@dataclass
class Projection:
    """Project centred spectra on directions that a kind of feature learns in its own way.

    Why it exists: once fitted, the kinds differ in name alone.  Each has
    ``fit``, which sets ``mean_`` (band,), ``directions_`` (band, component) and
    an array (component,) that says what each direction is worth.
    """

    components: int = 5
    """How many components."""

    title: ClassVar[str]
    """What the feature is called; in small letters its bands are."""
    worth: ClassVar[str]
    """Name of the array of what each direction is worth, without its underscore."""
    mean_: Floats = field(init=False, repr=False, compare=False)
    directions_: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a number of components that is none."""
        self.components = check_components(self.components, self.title)

    @property
    def reach(self) -> int:
        """Pixels around a pixel that its value depends on: none, whatever it is fitted on."""
        return 0

    def outputs(self, bands: int) -> int:
        """Return how many features it makes of so many bands."""
        check_band_count(self.components, bands, self.title)
        return self.components

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene with its components as bands, such as ``pca1``, ``pca2`` …."""
        check_bands(scene, len(self.mean_), self.title)
        name = self.title.lower()
        names = [f"{name}{number}" for number in range(1, self.components + 1)]
        return map_spectra(scene, self._project, names, progress)

    def _project(self, spectra: Floats) -> Floats:
        return np.asarray((spectra - self.mean_) @ self.directions_)

    def state(self) -> tuple[Settings, Arrays]:
        """Return what was learnt as JSON-able settings and plain arrays."""
        arrays: Arrays = {
            "mean": self.mean_,
            "directions": self.directions_,
            self.worth: getattr(self, f"{self.worth}_"),
        }
        return {"components": self.components}, arrays

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Return the fitted feature that :meth:`state` described.

        Raises
        ------
        ModelError
            If something is missing or does not fit the rest.
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
        self.directions_ = fix_signs(directions[:, ::-1][:, : self.components])
        self.variances_ = variances[: self.components]
        return self
