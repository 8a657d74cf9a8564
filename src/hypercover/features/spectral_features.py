"""Features of single spectra: PCA, MNF and KPCA, and reading the spectra of a scene."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import ClassVar, Self

import numpy as np
from scipy.linalg import eigh

from hypercover.errors import CallError, ModelError, SceneError, counted
from hypercover.features.feature import (
    Count,
    Feature,
    PositiveFloat,
    SavedSettings,
    Settings,
    check_range,
    empty_stack,
    feature_scene,
    saved_array,
)
from hypercover.memory import check_memory
from hypercover.scene.scene import Scene
from hypercover.types import Arrays, Floats, Indices, Progress

_MOST_COMPONENTS = 2**16
_BLOCK = 2**13
"""Spectra processed at a time."""
_SAME = 1e-9
"""A band whose standard deviation is below this share of its mean is constant."""
_NEGLIGIBLE = 1e-12
"""Directions with less than this share of the largest variance do not count."""
_NOISE_FLOOR = 1e-9
"""Noise added to every band as a share of its variance, so that duplicate bands do no harm."""
_KERNEL_BLOCK = 2**21
"""Kernel values held in memory at a time: 16 MiB."""


class _ComponentSettings(SavedSettings):
    components: Count


class _KPCASettings(_ComponentSettings):
    sample: Count
    gamma: PositiveFloat | None = None
    width: PositiveFloat


@dataclass
class SpectralFeature(Feature):
    """Base class of features that map each spectrum to components."""

    components: int = 5
    """Number of components."""

    title: ClassVar[str]
    """Name of the feature; its bands are named in lower case."""
    settings: ClassVar[type[SavedSettings]] = _ComponentSettings
    """The saved settings: the parameters, and ``width``, the gamma of KPCA."""
    saved: ClassVar[Mapping[str, tuple[str, ...]]]
    """Names and axes of the saved arrays; `fit` sets each, with an underscore added."""
    mean_: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the number of components."""
        given = self.components
        whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
        if not whole or not 1 <= given < _MOST_COMPONENTS:
            raise CallError(
                f"The components of {self.title} must be a whole number of at least 1 component, "
                f"got {given!r}; use for example 5."
            )
        self.components = int(given)

    def outputs(self, bands: int) -> int:
        """Return the number of components."""
        return self.components

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene of components, with bands named ``pca1``, ``pca2``, …."""
        bands = len(self.mean_)
        if scene.n_bands != bands:
            raise ModelError(
                f"{self.title} was fitted on {counted(bands, 'band')} and the scene {scene.name} "
                f"has {scene.n_bands}; use a scene with the same bands."
            )
        names = [f"{self.title.lower()}{at}" for at in range(1, self.components + 1)]
        values, done = empty_stack(scene, len(names)), 0
        for (row, col), spectra in _blocks_of(scene):
            values[:, row, col] = self._project(spectra).T
            done += len(row)
            if progress is not None:
                progress(done, int(scene.valid.sum()))
        return feature_scene(scene, values, names)

    @abstractmethod
    def _project(self, spectra: Floats) -> Floats:
        """Return the components (n, component) of spectra (n, band)."""

    def state(self) -> tuple[Settings, Arrays]:
        """Return the fitted feature as JSON-able settings and arrays."""
        settings = {
            each.name: getattr(self, each.name) for each in fields(self) if each.init
        }
        return settings, {name: getattr(self, _attribute(name)) for name in self.saved}

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Restore a fitted feature after checking that the axes of its arrays fit together."""
        saved = cls.settings.read(settings).model_dump(exclude={"width"})
        feature, sizes = cls(**saved), {"component": saved["components"]}
        for name, axes in cls.saved.items():
            array = saved_array(arrays, name, *map(sizes.get, axes))
            sizes |= dict(zip(axes, array.shape, strict=True))
            setattr(feature, _attribute(name), array)
        return feature


def _attribute(name: str) -> str:
    """Return the attribute of a saved array; variances have scikit-learn's name."""
    return "explained_variance_" if name == "variances" else f"{name}_"


_LINEAR = {"mean": ("band",), "directions": ("band", "component")}
"""Axes of the arrays of every projection."""


@dataclass
class Projection(SpectralFeature):
    """Linear projection of centred spectra, the base class of `PCA` and `MNF`."""

    directions_: Floats = field(init=False, repr=False, compare=False)

    @property
    def components_(self) -> Floats:
        """Directions (component, band), as in scikit-learn."""
        return self.directions_.T

    def outputs(self, bands: int) -> int:
        """Return the number of components after checking it against the bands."""
        if self.components > bands:
            raise CallError(
                f"{self.title} cannot compute {self.components} components from "
                f"{counted(bands, 'band')}; use at most {bands}."
            )
        return self.components

    def _project(self, spectra: Floats) -> Floats:
        return np.asarray((spectra - self.mean_) @ self.directions_)


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
    components_ : array (component, band)
        Unit vectors; the largest entry of each is positive.
    explained_variance_ : array (component,)
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
    saved: ClassVar = _LINEAR | {"variances": ("component",)}

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Fit to all valid pixels; ``seed`` is ignored.

        Raises
        ------
        SceneError
            If the spectra vary in fewer directions than there are components.
        """
        self.mean_, covariance = _mean_and_covariance(scene)
        variances, directions = eigh(covariance)
        variances = np.maximum(variances[::-1], 0.0)
        _check_variance(variances, self.components, scene, self.title)
        self.directions_ = fix_signs(directions[:, ::-1][:, : self.components])
        self.explained_variance_ = variances[: self.components]
        return self


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
    components_ : array (component, band)
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
    saved: ClassVar = _LINEAR | {"ratios": ("component",)}

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Fit to all valid pixels; ``seed`` is ignored.

        Raises
        ------
        SceneError
            If the spectra vary in fewer directions than there are components, or
            no two valid pixels are adjacent.
        """
        self.mean_, covariance = _mean_and_covariance(scene)
        spread = np.sqrt(np.diag(covariance))
        weight = _inverse_spread(self.mean_, spread)
        total = weight[:, None] * covariance * weight
        noise = weight[:, None] * noise_covariance(scene) * weight
        variances = np.maximum(np.linalg.eigvalsh(total)[::-1], 0.0)
        _check_variance(variances, self.components, scene, self.title)
        ratios, directions = eigh(total, noise + _NOISE_FLOOR * np.eye(len(noise)))
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
            f"MNF estimates noise from neighbours, and {scene.name} has no two adjacent valid "
            "pixels; use pca instead."
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


@dataclass
class KPCA(SpectralFeature):
    """Kernel principal component analysis with a Gaussian (RBF) kernel.

    Works on scenes, not on arrays: use `sklearn.decomposition.KernelPCA` on spectra
    (n, band).  The kernel matrix is computed for a random sample of the valid
    pixels; all pixels are then projected block by block in bounded memory.  Bands are
    standardised by mean and standard deviation over the sample; constant bands get
    no weight.

    Attributes
    ----------
    gamma_ : float
        The gamma used, in exp(-gamma · distance²) between standardised spectra.
    explained_variance_ : array (component,)
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

    title = "KPCA"
    settings = _KPCASettings
    saved: ClassVar = {
        "mean": ("band",),
        "weight": ("band",),
        "sample": ("sample", "band"),
        "coefficients": ("sample", "component"),
        "offset": ("component",),
        "variances": ("component",),
    }

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if not isinstance(self.sample, int) or self.sample <= self.components:
            raise CallError(
                f"KPCA with {self.components} components needs a larger sample of pixels, got "
                f"{self.sample!r}; use for example {max(2000, 10 * self.components)}."
            )
        number = isinstance(self.gamma, Real) and not isinstance(self.gamma, bool)
        if self.gamma is not None and not (number and 0 < self.gamma < np.inf):
            raise CallError(
                f"The gamma of KPCA must be a number above 0, got {self.gamma!r}; leave "
                "it out to derive it."
            )

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Fit to a sample of the valid pixels.

        Raises
        ------
        SceneError
            If the sample has fewer pixels or dimensions than components, or its
            kernel does not fit in memory.
        """
        spectra = _draw_spectra(scene, self.sample, seed)
        check_memory(
            24 * len(spectra) ** 2,
            f"The kernel of {len(spectra)} sampled pixels",
            "draw a smaller sample for KPCA",
        )
        self.mean_, spread = spectra.mean(axis=0), spectra.std(axis=0)
        self.weight_ = _inverse_spread(self.mean_, spread)
        self.sample_ = (spectra - self.mean_) * self.weight_
        squares = squared_distances(self.sample_, self.sample_)
        _check_variance(
            np.full(self.components, squares.max()), self.components, scene, "KPCA"
        )
        self.gamma_ = float(self.gamma or _median_gamma(squares))
        self._solve(np.exp(-self.gamma_ * squares), scene)
        return self

    def _solve(self, kernel: Floats, scene: Scene) -> None:
        """Compute the leading eigenvectors a of the centred kernel, with variance · aᵀa = 1."""
        means = kernel.mean(axis=0)
        count = len(kernel)
        kernel = kernel - means - means[:, None] + means.mean()
        first = max(0, count - self.components)
        values, vectors = eigh(kernel, subset_by_index=(first, count - 1))
        values = np.maximum(values[::-1], 0.0)
        _check_variance(values, self.components, scene, self.title)
        self.coefficients_ = fix_signs(vectors[:, ::-1]) / np.sqrt(values)
        # The vectors sum to 0, so centring a new row reduces to this offset.
        self.offset_ = means @ self.coefficients_
        self.explained_variance_ = values / count

    def _project(self, spectra: Floats) -> Floats:
        features = np.empty((len(spectra), self.components))
        step = max(1, _KERNEL_BLOCK // len(self.sample_))
        for start in range(0, len(spectra), step):
            block = slice(start, start + step)
            scaled = (spectra[block] - self.mean_) * self.weight_
            kernel = squared_distances(scaled, self.sample_)
            kernel *= -self.gamma_
            np.exp(kernel, out=kernel)
            features[block] = kernel @ self.coefficients_
        features -= self.offset_
        return features

    def state(self) -> tuple[Settings, Arrays]:
        """Return the fitted feature as JSON-able settings and arrays."""
        settings, arrays = super().state()
        return settings | {"width": self.gamma_}, arrays

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Restore a fitted feature from its `state`."""
        feature = super().from_state(settings, arrays)
        feature.gamma_ = float(settings["width"])
        return feature


def _median_gamma(squares: Floats) -> float:
    """Return 1 / (2 · median distance²), ignoring equal pixels if they are the majority."""
    between = squares[np.triu_indices(len(squares), 1)]
    median = np.median(between)
    if median <= 1e-9 * between.max():
        median = np.median(between[between > 1e-9 * between.max()])
    return 1.0 / (2.0 * float(median))


def _blocks_of(scene: Scene) -> Iterator[tuple[Indices, Floats]]:
    """Yield the rows and columns (2, n) and the spectra (n, band) of all valid pixels."""
    for strip in scene.strips():
        cube = scene.read(strip, slice(None))
        places = np.stack(np.nonzero(scene.valid[strip]))
        for start in range(0, places.shape[1], _BLOCK):
            row, col = places[:, start : start + _BLOCK]
            spectra = cube[:, row, col].T.astype(np.float64)
            check_range(spectra, scene)
            yield np.stack((row + strip.start, col)), spectra


def _count_valid(scene: Scene) -> int:
    count = int(scene.valid.sum())
    if count == 0:
        raise SceneError(
            f"The image {scene.name} has no pixel with data in all bands; drop the bands "
            "without data."
        )
    return count


def _draw_spectra(scene: Scene, count: int, seed: int) -> Floats:
    """Draw the spectra (n, band) of up to ``count`` valid pixels without replacement."""
    _count_valid(scene)
    places = np.flatnonzero(scene.valid)
    if len(places) > count:
        places = np.sort(np.random.default_rng(seed).choice(places, count, replace=False))
    rows, cols = np.unravel_index(places, scene.shape)
    parts = []
    for strip in scene.strips():
        here = (rows >= strip.start) & (rows < strip.stop)
        if here.any():
            cube = scene.read(strip, slice(None))
            parts.append(cube[:, rows[here] - strip.start, cols[here]].T)
    spectra = np.concatenate(parts).astype(np.float64)
    check_range(spectra, scene)
    return spectra


def _mean_and_covariance(scene: Scene) -> tuple[Floats, Floats]:
    """Return the mean (band,) and covariance (band, band) over all valid pixels."""
    count = _count_valid(scene)
    mean = np.zeros(scene.n_bands)
    for _, spectra in _blocks_of(scene):
        mean += spectra.sum(axis=0) / count
    square = np.zeros((scene.n_bands, scene.n_bands))
    for _, spectra in _blocks_of(scene):
        spectra -= mean
        square += spectra.T @ spectra
    return mean, square / max(1, count - 1)


def _inverse_spread(mean: Floats, spread: Floats) -> Floats:
    """Return 1 / standard deviation of each band; 0 for bands that are constant up to rounding."""
    varying = spread > _SAME * np.maximum(np.abs(mean), np.finfo(float).tiny)
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=varying)


def _check_variance(variances: Floats, components: int, scene: Scene, feature: str) -> None:
    """Refuse more components than the spectra of a scene have dimensions.

    Parameters
    ----------
    variances : array
        Variance along each direction, in descending order.
    """
    largest = max(float(variances[0]), np.finfo(float).tiny) if len(variances) else 1.0
    rank = int((variances > _NEGLIGIBLE * largest).sum())
    if rank < components:
        directions = f"only {counted(rank, 'direction')}" if rank else "no direction"
        raise SceneError(
            f"{feature} cannot compute {components} components: the "
            f"{int(scene.valid.sum())} valid pixels of {scene.name} vary in {directions}; "
            "use fewer components, or more pixels and bands that are not constant."
        )


def fix_signs(directions: Floats) -> Floats:
    """Flip directions (n, component) so that the largest entry of each is positive.

    The sign of an eigenvector is arbitrary; fixing it makes features reproducible.
    """
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(directions.shape[1])])
    return np.asarray(directions * np.where(signs == 0, 1.0, signs))


def squared_distances(left: Floats, right: Floats) -> Floats:
    """Return squared distances (left, right) between rows."""
    squares = left @ right.T
    squares *= -2.0
    squares += np.einsum("ij,ij->i", left, left)[:, None]
    squares += np.einsum("ij,ij->i", right, right)
    return np.asarray(np.maximum(squares, 0.0, out=squares))
