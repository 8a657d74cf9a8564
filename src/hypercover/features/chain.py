"""Chains of image features, computed as a whole or lazily, block by block."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import xarray as xr
import yaml

from hypercover import features
from hypercover.errors import CallError, ModelError
from hypercover.features.feature import (
    Feature,
    SavedSettings,
    Settings,
    feature_scene,
    subprogress,
)
from hypercover.memory import fits_in_memory
from hypercover.scene.io.safe_parsers import parse_yaml
from hypercover.scene.nodata import without_nodata
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import LazyArray, Tile, bounding_slice
from hypercover.types import Array, Arrays, Indices, Mask, Progress


class _FeatureEntry(NamedTuple):
    """An image feature that a chain can contain."""

    class_name: str
    main: str
    """The parameter given after the colon, as in ``kpca:5``."""
    description: str


FEATURES: Mapping[str, _FeatureEntry] = {
    "kpca": _FeatureEntry("KPCA", "components", "kernel principal components"),
    "pca": _FeatureEntry("PCA", "components", "principal components"),
    "mnf": _FeatureEntry("MNF", "components", "minimum noise fraction"),
    "esdap": _FeatureEntry(
        "AttributeProfiles", "attributes", "self-dual attribute profiles"
    ),
}

_LIST_SETTING = "attributes"
"""The main parameter that is a list of names rather than a count."""

_MAX_TEXT = 200


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain: a feature and its parameters."""

    name: str
    """Key in `FEATURES`."""
    params: Mapping[str, Any]
    """Parameters that differ from the defaults."""

    @classmethod
    def of(cls, item: object) -> "ChainStep":
        """Parse ``"kpca:5"`` or ``{"kpca": {"components": 5}}``.

        Raises
        ------
        CallError
            If the feature or one of its parameters does not exist.
        """
        if isinstance(item, str):
            name, colon, argument = (part.strip() for part in item.partition(":"))
            return cls(name, _parse_settings(name, argument if colon else None))
        if isinstance(item, Mapping) and len(item) == 1:
            ((name, value),) = item.items()
            return cls(name, _parse_settings(name, value))
        raise CallError(
            "A step of a chain must be written as kpca:5 or {kpca: {components: 5}}, got "
            f"{str(item)[:60]!r}."
        )

    def feature_class(self) -> Any:
        """Return the class of the feature, which is imported when it is first used."""
        return getattr(features, FEATURES[self.name].class_name)

    def to_json(self) -> dict[str, Any]:
        """Return the form that :meth:`of` reads."""
        return {self.name: dict(self.params)}

    @property
    def text(self) -> str:
        """The step in short form, such as ``kpca:5``."""
        main = FEATURES[self.name].main
        rest = {key: value for key, value in self.params.items() if key != main}
        text = self.name
        if main in self.params:
            text += f":{_format_setting(self.params[main], '+')}"
        if rest:
            text += f" ({', '.join(f'{key} {_format_setting(rest[key])}' for key in rest)})"
        return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 2]} …"


def _format_setting(value: Any, between: str = " ") -> str:
    """Format a parameter without brackets and quotes."""
    if isinstance(value, Mapping):
        return between.join(f"{key} {_format_setting(value[key])}" for key in value)
    if isinstance(value, list | tuple):
        return between.join(map(str, value))
    return str(value)


def _check_name(name: object) -> None:
    if name in FEATURES:
        return
    if name == "nwfe":
        raise CallError(
            "NWFE learns from labels, so it is no image feature; set it in the model "
            "instead, as in nwfe: 30."
        )
    listed = ", ".join(f"{key} ({entry.description})" for key, entry in FEATURES.items())
    raise CallError(
        f"Unknown image feature {str(name)[:40]!r}; choose one of {listed}, or one of the chains "
        f"{', '.join(NAMED_CHAINS)}."
    )


def _parse_settings(name: str, value: object) -> dict[str, Any]:
    """Parse the parameters of a step and check their names."""
    _check_name(name)
    main = FEATURES[name].main
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return {main: _parse_main_setting(name, main, value)}
    parameters = inspect.signature(ChainStep(name, {}).feature_class()).parameters
    unknown = [str(key)[:40] for key in value if key not in parameters]
    if unknown:
        raise CallError(
            f"The feature {name} has no parameter {', '.join(unknown)}; choose from "
            f"{', '.join(parameters)}."
        )
    given = dict(value)
    if main == _LIST_SETTING and main in given:
        given[main] = _parse_main_setting(name, main, given[main])
    return given


def _parse_main_setting(name: str, main: str, value: object) -> Any:
    """Parse the main parameter: a count, or names joined by +."""
    if main == _LIST_SETTING:
        words = value if isinstance(value, list | tuple) else str(value).split("+")
        return tuple(str(word).strip() for word in words)
    try:
        return int(str(value))
    except ValueError:
        raise CallError(
            f"Cannot read {name}:{str(value)[:40]}; give the number of {main}, as in {name}:5."
        ) from None


ChainSpec = str | Sequence[str | Mapping[str, Any]]
"""A chain as text (``"kpca:5,esdap:area"``) or as a YAML list."""

_MAX_STEPS = 16


BorderLevels = list[list[float] | None]
"""For each step of a chain, the level around each band, or None."""

_VALUES_PER_STRIP = 2**22
"""Values of the scene read at a time."""

_SMALL_STACK = 2**26
"""Bytes of a stack below which it is always computed whole."""

_GAP = 64
"""Columns without a border pixel that are worth skipping."""


class _ChainSettings(SavedSettings):
    steps: list[Any]
    fitted: list[dict[str, Any]]
    """Settings of each fitted feature."""


@dataclass
class Chain:
    """A sequence of image features, each computed from the output of the previous one.

    A chain is fitted on all valid pixels, without labels.  It works on scenes, not
    on arrays.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> cube = np.random.default_rng(0).random((6, 9, 8)) + 1
    >>> scene = Scene(xr.DataArray(cube, dims=("band", "y", "x")))
    >>> chain = Chain.parse("mnf:4,pca:2")
    >>> stack = chain.fit_transform(scene, seed=0)
    >>> stack.cube.shape, stack.cube.band_name.values.tolist()
    ((2, 9, 8), ['pca1', 'pca2'])
    """

    steps: tuple[ChainStep, ...]
    """Features and their parameters."""

    def __post_init__(self) -> None:
        """Build the features, which checks their parameters."""
        if not 1 <= len(self.steps) <= _MAX_STEPS:
            raise CallError(
                f"A chain has 1 to {_MAX_STEPS} steps, got {len(self.steps)}; write for "
                "example kpca:5."
            )
        self.features: tuple[Feature, ...] = tuple(
            step.feature_class()(**step.params) for step in self.steps
        )

    @classmethod
    def parse(cls, spec: ChainSpec) -> Self:
        """Parse a chain from text or from a YAML list.

        Parameters
        ----------
        spec : str or list
            ``"kpca:5,esdap:area+std"``, the name of a chain such as ``"rome"``, or
            a list of such texts and of ``{feature: {parameter: value}}``, which may
            itself be text: ``"[{kpca: {components: 5, gamma: 0.01}}, esdap]"``.

        Raises
        ------
        CallError
            If a step cannot be parsed; the message lists the choices.
        """
        if isinstance(spec, str):
            items = _parse_list(spec) if spec.lstrip().startswith("[") else [spec]
        else:
            items = list(spec)
        return cls(tuple(step for item in items for step in _parse_item(item)))

    @property
    def text(self) -> str:
        """The chain in text form, such as ``kpca:5,esdap:area``."""
        return ",".join(step.text for step in self.steps)

    @property
    def reach(self) -> int | None:
        """Radius in pixels of the neighbourhood a value depends on; None = unbounded."""
        reaches = [feature.reach for feature in self.features]
        return None if None in reaches else sum(filter(None, reaches))

    def outputs(self, bands: int) -> int:
        """Return the largest number of features computed from a number of bands.

        Raises
        ------
        CallError
            If a step has more components than input bands.
        """
        for feature in self.features:
            bands = feature.outputs(bands)
        return bands

    def fit(self, scene: Scene, *, seed: int = 0) -> Self:
        """Fit each step on the output of the previous one.

        Raises
        ------
        SceneError
            If a step cannot be fitted to its input.
        """
        for feature in self.features[:-1]:
            scene = feature.fit(scene, seed=seed).transform(scene)
        self.features[-1].fit(scene, seed=seed)
        return self

    def fit_transform(
        self, scene: Scene, *, seed: int = 0, progress: Progress | None = None
    ) -> Scene:
        """Fit the chain and return the scene of its features in one pass."""
        parts = 2 * len(self.features)
        for place, feature in enumerate(self.features):
            feature.fit(scene, seed=seed, progress=subprogress(progress, 2 * place, parts))
            scene = feature.transform(
                scene, progress=subprogress(progress, 2 * place + 1, parts)
            )
        return scene

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return a scene whose bands are the features."""
        for place, feature in enumerate(self.features):
            part = subprogress(progress, place, len(self.features))
            scene = feature.transform(scene, progress=part)
        return scene

    def fits_whole(self, scene: Scene) -> bool:
        """Tell whether the features should be computed as a whole.

        Attribute profiles are computed as a whole if they fit in memory, because blocks
        change their values.
        """
        rows, cols = scene.shape
        size = 4 * self.outputs(scene.n_bands) * rows * cols
        return fits_in_memory(size) if self.reach is None else size <= _SMALL_STACK

    def fit_stack(
        self, scene: Scene, *, seed: int = 0, progress: Progress | None = None
    ) -> Scene:
        """Fit the chain and return the scene of its features, lazy if it is large.

        Raises
        ------
        SceneError
            If a step cannot be fitted to its input, or profiles do not fit in memory.
        """
        if self.reach is None or self.fits_whole(scene):
            return self.fit_transform(scene, seed=seed, progress=progress)
        levels = self.fit_blockwise(scene, seed=seed, progress=progress)
        return self.transform_blockwise(scene, levels=levels)

    def fit_blockwise(
        self,
        scene: Scene,
        *,
        seed: int = 0,
        overlap: int | None = None,
        progress: Progress | None = None,
    ) -> BorderLevels:
        """Fit the chain without holding a stack in memory; return its `border_levels`.

        Each step after the first recomputes the previous ones whenever it reads a block.

        Raises
        ------
        CallError
            As `transform_blockwise`.
        SceneError
            If a step cannot be fitted to its input.
        """
        levels: BorderLevels = []
        for place, (feature, source) in enumerate(self._inputs(scene, overlap, levels)):
            report = subprogress(progress, place, len(self.features))
            feature.fit(source, seed=seed, progress=report)
            if report is not None:
                report(1, 1)
        return levels

    def border_levels(self, scene: Scene, *, overlap: int | None = None) -> BorderLevels:
        """Return the level around each band for each step of a fitted chain.

        Attribute profiles need the level around the whole scene, which a block does not
        contain.  None for other steps.
        """
        if self.reach is not None:
            return [None] * len(self.features)
        levels: BorderLevels = []
        list(self._inputs(scene, overlap, levels))
        return levels

    def _inputs(
        self, scene: Scene, overlap: int | None, levels: BorderLevels
    ) -> Iterator[tuple[Feature, Scene]]:
        """Yield each step, which may then be fitted, with its input; append its levels."""
        self.check_blockwise(overlap)
        for feature in self.features:
            if levels:
                scene = _lazy_features(
                    self.features[len(levels) - 1], scene, overlap, levels[-1]
                )
            yield feature, scene
            levels.append(edge_medians(scene) if feature.reach is None else None)

    def transform_blockwise(
        self,
        scene: Scene,
        *,
        overlap: int | None = None,
        levels: BorderLevels | None = None,
    ) -> Scene:
        """Return a lazy scene of the features, which are computed when they are read.

        Parameters
        ----------
        overlap : int, optional
            Margin in pixels around a block, for attribute profiles, which depend on
            pixels at any distance.  Where the margin cuts shapes, the values differ
            from those of the whole image.
        levels : list, optional
            Result of `border_levels`, computed here by default.

        Raises
        ------
        CallError
            If the chain depends on pixels at any distance and ``overlap`` is None.
        """
        self.check_blockwise(overlap)
        levels = levels or self.border_levels(scene, overlap=overlap)
        for feature, outside in zip(self.features, levels, strict=True):
            scene = _lazy_features(feature, scene, overlap, outside)
        return scene

    def overlap_note(self, overlap: int | None) -> tuple[str, ...]:
        """Return a note if features were computed with an overlap that may change them."""
        if self.reach is not None or overlap is None:
            return ()
        return (
            f"Attribute profiles were computed in blocks with a margin of {overlap} pixels: "
            "larger shapes are cut, so values may differ from those of the whole image.",
        )

    def check_blockwise(self, overlap: int | None) -> None:
        """Refuse a chain that cannot be computed block by block.

        Raises
        ------
        CallError
            If it depends on pixels at any distance and ``overlap`` is None.
        """
        if self.reach is None and overlap is None:
            raise CallError(
                "Attribute profiles depend on the whole image, which does not fit in memory; use "
                "a smaller image, or --overlap to compute them in blocks with that margin "
                "in pixels."
            )

    def state(self) -> tuple[Settings, Arrays]:
        """Return the fitted chain as JSON-able settings and arrays.

        Array names start with the position of their step, as in ``0.mean``.
        """
        settings, parts = zip(*(feature.state() for feature in self.features), strict=True)
        arrays = {
            f"{place}.{name}": array
            for place, part in enumerate(parts)
            for name, array in part.items()
        }
        steps = [step.to_json() for step in self.steps]
        return {"steps": steps, "fitted": list(settings)}, arrays

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Restore a fitted chain from its `state`.

        Raises
        ------
        ModelError
            If the state is incomplete or inconsistent.
        """
        saved = _ChainSettings.read(settings)
        if len(saved.fitted) != len(saved.steps):
            raise ModelError(
                f"Only {len(saved.fitted)} of {len(saved.steps)} saved features are "
                "fitted; train the model again."
            )
        chain = cls.parse(saved.steps)
        if len(chain.steps) != len(saved.steps):
            raise ModelError(
                "The saved chain contains another chain by name; train the model again."
            )
        fitted = []
        for place, (step, own) in enumerate(zip(chain.steps, saved.fitted, strict=True)):
            start = f"{place}."
            part = {
                name.removeprefix(start): array
                for name, array in arrays.items()
                if name.startswith(start)
            }
            fitted.append(step.feature_class().from_state(own, part))
        chain.features = tuple(fitted)
        return chain


def edge_medians(scene: Scene) -> list[float]:
    """Return the median of the border pixels of each band.

    Equal to :func:`~hypercover.features.tree_of_shapes.border_median` of each band, but
    reads the border only.

    Examples
    --------
    >>> import xarray as xr
    >>> band = np.array([[1.0, 2.0, 3.0], [4.0, 99.0, 5.0], [6.0, 7.0, 8.0]])
    >>> edge_medians(Scene(xr.DataArray(band[None], dims=("band", "y", "x"))))
    [4.5]
    """
    # numba takes a second to import
    from hypercover.features.tree_of_shapes import border_pixels

    edge = border_pixels(scene.valid)
    parts = [
        scene.read(rows, cols)[:, edge[rows, cols]]
        for rows in scene.strips()
        for cols in _column_runs(edge[rows])
    ]
    if not parts:
        return [0.0] * scene.n_bands
    values = np.concatenate(parts, axis=1).astype(np.float64)
    return [float(level) for level in np.median(values, axis=1)]


def _column_runs(edge: Mask) -> Iterator[slice]:
    """Group the columns that contain border pixels into runs without long gaps."""
    cols = np.flatnonzero(edge.any(axis=0))
    for run in np.split(cols, np.flatnonzero(np.diff(cols) > _GAP) + 1):
        if len(run):
            yield slice(int(run[0]), int(run[-1]) + 1)


def _lazy_features(
    feature: Feature, scene: Scene, overlap: int | None, outside: list[float] | None
) -> Scene:
    """Return the lazy scene of one fitted feature."""
    if outside is not None:
        feature = feature.surrounded_by(outside)
    margin = overlap or 0 if feature.reach is None else feature.reach
    names = _output_names(feature, scene)
    blocks = _FeatureBlocks(feature, scene, margin, len(names))
    lazy = LazyArray((len(names), *scene.shape), np.float32, blocks.fetch)
    variable = xr.Variable(("band", "y", "x"), lazy.as_variable_data())
    stack = feature_scene(scene, variable, names)
    values = {each.name: getattr(stack, each.name) for each in fields(Scene)}
    return _FeatureScene(**values, original=scene)


@dataclass(frozen=True, eq=False)
class _FeatureScene(Scene):
    """A lazy scene of features, valid where its source is."""

    original: Scene | None = None
    """Scene the features are computed from."""

    @cached_property
    def valid(self) -> Mask:
        """Valid pixels (y, x), known without computing a feature."""
        assert self.original is not None  # noqa: S101
        return self.original.valid


def _output_names(feature: Feature, scene: Scene) -> tuple[str, ...]:
    """Return the names of the features, from a single pixel."""
    pixel = np.ones((scene.n_bands, 1, 1), dtype=np.float32)
    cube = scene.cube.isel(y=slice(0, 1), x=slice(0, 1)).copy(data=pixel)
    names = feature.transform(Scene(without_nodata(cube))).band_names
    assert names is not None  # noqa: S101
    return names


@dataclass(frozen=True, eq=False)
class _FeatureBlocks:
    """Computes any rectangle of the features of a scene."""

    feature: Feature
    scene: Scene
    margin: int
    count: int

    def fetch(self, indices: tuple[Indices, ...]) -> Array:
        """Return features (feature, row, col) at band, row and column indices."""
        bands, rows, cols = indices
        whole = Tile(bounding_slice(rows), bounding_slice(cols))
        width = whole.shape[1] + 2 * self.margin
        height = _VALUES_PER_STRIP // (width * self.scene.n_bands) - 2 * self.margin
        values = np.empty((self.count, *whole.shape), dtype=np.float32)
        for strip in whole.cut(max(height, self.margin, 1), whole.shape[1]):
            values[:, *strip.within(whole)] = self._strip(strip)
        at = np.ix_(bands, rows - whole.rows.start, cols - whole.cols.start)
        return np.asarray(values[at])

    def _strip(self, strip: Tile) -> Any:
        """Compute a strip from its pixels and those around it."""
        around, _ = strip.with_margin(self.margin, self.scene.shape)
        piece = self.scene.cube.isel(y=around.rows, x=around.cols)
        piece = piece.copy(data=self.scene.read(around.rows, around.cols))
        scene = Scene(piece, name=self.scene.name)
        if not scene.valid.any():
            return np.nan
        return self.feature.transform(scene).cube.values[:, *strip.within(around)]


def _parse_list(text: str) -> list[Any]:
    """Parse a YAML list given as text on the command line."""
    try:
        items = parse_yaml(text)
    except yaml.YAMLError:
        items = None
    if not isinstance(items, list):
        raise CallError(
            f"The chain {text[:60]!r} is not a list; write for example "
            f"'[{{kpca: {{gamma: 0.01}}}}, esdap]'."
        )
    return items


def _parse_item(item: str | Mapping[str, Any]) -> list[ChainStep]:
    """Parse one item of a list, or a text of steps and named chains."""
    if not isinstance(item, str):
        return [ChainStep.of(item)]
    steps: list[ChainStep] = []
    for part in (part.strip() for part in item.split(",")):
        if part in NAMED_CHAINS:
            steps += Chain.parse(NAMED_CHAINS[part]).steps
        else:
            steps.append(ChainStep.of(part))
    return steps


ROME_AREAS = tuple(round(1000 / 0.6 * step) for step in range(1, 11))
"""Ten area thresholds in pixels by the published formula at Quickbird's 0.6 m."""

NAMED_CHAINS: dict[str, list[str | dict[str, Any]]] = {
    "rome": [{"esdap": {"attributes": ["area"], "thresholds": {"area": list(ROME_AREAS)}}}],
    "lecture": ["kpca:5", "esdap:area+std"],
}
"""Chains with a name.

``rome`` computes the 55 features of the Rome scene from its 5 bands (panchromatic
and four pansharpened): 5 × (1 + 10 areas).  The original areas have not been
published; these follow the formula.
"""

NWFE_FEATURES = {"lecture": 30}
"""Number of NWFE features for chains whose published form ends with NWFE.

NWFE learns from labels, so it is part of the model rather than of the chain.
"""
