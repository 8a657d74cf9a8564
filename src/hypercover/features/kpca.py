"""Kernel principal component analysis of the spectra of a scene."""

from dataclasses import dataclass
from numbers import Real
from typing import Self

import numpy as np
from scipy.linalg import eigh

from hypercover.errors import CallError
from hypercover.features.feature import (
    Count,
    PositiveFloat,
    SavedSettings,
    Settings,
    saved_array,
)
from hypercover.features.spectral_features import (
    check_bands,
    check_components,
    check_variance,
    draw_spectra,
    fix_signs,
    map_spectra,
    squared_distances,
    varying_bands,
)
from hypercover.scene.io.limits import check_memory
from hypercover.scene.scene import Scene
from hypercover.types import Arrays, Floats, Progress

_KERNEL_BLOCK = 2**21
"""Kernel values held in memory at a time: 16 MiB."""


class _KPCASettings(SavedSettings):
    components: Count
    sample: Count
    gamma: PositiveFloat | None = None
    width: PositiveFloat


@dataclass
class KPCA:
    """Kernel principal component analysis with a Gaussian (RBF) kernel.

    Works on scenes, not on arrays: use `sklearn.decomposition.KernelPCA` on spectra
    (n, band).  The kernel matrix is computed for a random sample of the valid
    pixels; all pixels are then projected block by block in bounded memory.  Bands are
    standardised by mean and standard deviation over the sample; constant bands get
    no weight.

    Attributes
    ----------
    width_ : float
        The gamma used, in exp(-gamma · distance²) between standardised spectra.
    variances_ : array (component,)
        Variance of each component over the sample, in descending order.

    References
    ----------
    Schölkopf, Smola, Müller: Nonlinear component analysis as a kernel
    eigenvalue problem, Neural Computation 10(5), 1998, pp. 1299-1319.

    Examples
    --------
    >>> cube = np.random.default_rng(0).random((6, 9, 8)) + 1
    >>> stack = KPCA(3).fit(Scene.from_array(cube)).transform(Scene.from_array(cube))
    >>> stack.cube.band_name.values.tolist()
    ['kpca1', 'kpca2', 'kpca3']
    """

    components: int = 5
    """Number of components."""
    sample: int = 2000
    """Largest number of pixels to fit the kernel to."""
    gamma: float | None = None
    """Gamma in exp(-gamma · distance²); None = 1 / (2 · median distance²) of the sample."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self.components = check_components(self.components, "KPCA")
        if not isinstance(self.sample, int) or self.sample <= self.components:
            raise CallError(
                f"KPCA with {self.components} components needs a larger sample of pixels, got "
                f"{self.sample!r}; use for example {max(2000, 10 * self.components)}."
            )
        number = isinstance(self.gamma, Real) and not isinstance(self.gamma, bool)
        if self.gamma is not None and not (number and 0 < self.gamma < np.inf):
            raise CallError(
                f"The gamma of KPCA must be a number above 0, got {self.gamma!r}; leave it "
                "out to derive it from the median distance."
            )

    @property
    def reach(self) -> int:
        """Radius in pixels of the neighbourhood a value depends on: 0."""
        return 0

    def outputs(self, bands: int) -> int:
        """Return the number of components."""
        return self.components

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Fit to a sample of the valid pixels.

        Raises
        ------
        SceneError
            If the sample has fewer pixels or dimensions than components, or its
            kernel does not fit in memory.
        """
        spectra = draw_spectra(scene, self.sample, seed)
        check_memory(
            24 * len(spectra) ** 2,
            f"The kernel of {len(spectra)} sampled pixels",
            "draw a smaller sample for KPCA",
        )
        self.mean_, self.weight_ = _standardisation(spectra)
        self.sample_ = (spectra - self.mean_) * self.weight_
        squares = squared_distances(self.sample_, self.sample_)
        check_variance(
            np.full(self.components, squares.max()), self.components, scene, "KPCA"
        )
        self.width_ = float(self.gamma or _median_gamma(squares))
        self._solve(np.exp(-self.width_ * squares), scene)
        return self

    def _solve(self, kernel: Floats, scene: Scene) -> None:
        """Compute the leading eigenvectors a of the centred kernel, with variance · aᵀa = 1."""
        means = kernel.mean(axis=0)
        count = len(kernel)
        kernel = kernel - means - means[:, None] + means.mean()
        first = max(0, count - self.components)
        values, vectors = eigh(kernel, subset_by_index=(first, count - 1))
        values = np.maximum(values[::-1], 0.0)
        check_variance(values, self.components, scene, "KPCA")
        self.coefficients_ = fix_signs(vectors[:, ::-1]) / np.sqrt(values)
        # The vectors sum to 0, so centring a new row reduces to this offset.
        self.offset_ = means @ self.coefficients_
        self.variances_ = values / count

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene of components, with bands named ``kpca1``, ``kpca2``, …."""
        check_bands(scene, len(self.mean_), "KPCA")
        names = [f"kpca{number}" for number in range(1, self.components + 1)]
        return map_spectra(scene, self._project, names, progress)

    def _project(self, spectra: Floats) -> Floats:
        features = np.empty((len(spectra), self.components))
        step = max(1, _KERNEL_BLOCK // len(self.sample_))
        for start in range(0, len(spectra), step):
            block = slice(start, start + step)
            scaled = (spectra[block] - self.mean_) * self.weight_
            kernel = squared_distances(scaled, self.sample_)
            kernel *= -self.width_
            np.exp(kernel, out=kernel)
            features[block] = kernel @ self.coefficients_
        features -= self.offset_
        return features

    def state(self) -> tuple[Settings, Arrays]:
        """Return the fitted feature as JSON-able settings and arrays."""
        settings = {
            "components": self.components,
            "sample": self.sample,
            "gamma": self.gamma,
            "width": self.width_,
        }
        return settings, {
            "mean": self.mean_,
            "weight": self.weight_,
            "sample": self.sample_,
            "coefficients": self.coefficients_,
            "offset": self.offset_,
            "variances": self.variances_,
        }

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Restore a fitted feature from its `state`.

        Raises
        ------
        ModelError
            If the state is incomplete or inconsistent.
        """
        saved = _KPCASettings.read(settings)
        feature = cls(saved.components, saved.sample, saved.gamma)
        components, feature.width_ = saved.components, saved.width
        feature.mean_ = saved_array(arrays, "mean", None)
        bands = len(feature.mean_)
        feature.weight_ = saved_array(arrays, "weight", bands)
        feature.sample_ = saved_array(arrays, "sample", None, bands)
        rows = len(feature.sample_)
        feature.coefficients_ = saved_array(arrays, "coefficients", rows, components)
        feature.offset_ = saved_array(arrays, "offset", components)
        feature.variances_ = saved_array(arrays, "variances", components)
        return feature


def _standardisation(spectra: Floats) -> tuple[Floats, Floats]:
    """Return mean and 1 / standard deviation of each band; 0 for constant bands."""
    mean, spread = spectra.mean(axis=0), spectra.std(axis=0)
    weight = np.divide(
        1.0, spread, out=np.zeros_like(spread), where=varying_bands(mean, spread)
    )
    return mean, weight


def _median_gamma(squares: Floats) -> float:
    """Return 1 / (2 · median distance²), ignoring equal pixels if they are the majority."""
    between = squares[np.triu_indices(len(squares), 1)]
    median = np.median(between)
    if median <= 1e-9 * between.max():
        median = np.median(between[between > 1e-9 * between.max()])
    return 1.0 / (2.0 * float(median))
