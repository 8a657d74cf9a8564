"""Straight projections of spectra: what principal components and minimum noise share."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from hypercover.features.feature import Arrays, Progress, Settings
from hypercover.features.restoring import count_in, matrix_in, vector_in
from hypercover.features.spectral import (
    Floats,
    check_bands,
    check_components,
    check_enough,
    map_spectra,
)
from hypercover.scene.scene import Scene

__all__ = ["Projection"]


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
        check_enough(self.components, bands, self.title)
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
        feature = cls(count_in(settings, "components"))
        feature._restore(arrays)
        return feature

    def _restore(self, arrays: Arrays) -> None:
        self.mean_ = vector_in(arrays, "mean")
        bands = len(self.mean_)
        self.directions_ = matrix_in(arrays, "directions", bands, self.components)
        setattr(self, f"{self.worth}_", vector_in(arrays, self.worth, self.components))
