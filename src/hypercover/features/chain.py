"""Chains of image features, from the bands of a scene to a stack of features."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import yaml

from hypercover import features
from hypercover.errors import CallError, ModelError
from hypercover.features.feature import Feature, SavedSettings, Settings, subprogress
from hypercover.scene.io.safe_parsers import parse_yaml
from hypercover.scene.scene import Scene
from hypercover.types import Arrays, Progress


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
            f"A step of a chain must be written as kpca:5 or {{kpca: {{components: 5}}}}, got "
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
            "NWFE learns from labels, so it cannot be part of a chain of image features; set "
            "it in the model instead, as in nwfe: 30."
        )
    listed = ", ".join(f"{key} ({entry.description})" for key, entry in FEATURES.items())
    raise CallError(
        f"Unknown image feature {str(name)[:40]!r}; choose one of {listed}, or one of the "
        f"chains {', '.join(NAMED_CHAINS)}."
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
            f"Cannot read {name}:{str(value)[:40]}; give the number of {main} after the "
            f"colon, as in {name}:5."
        ) from None


ChainSpec = str | Sequence[str | Mapping[str, Any]]
"""A chain as text (``"kpca:5,esdap:area"``) or as a YAML list."""

_MAX_STEPS = 16


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
                "example kpca:5,esdap:area+std."
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
                f"The saved chain has {len(saved.steps)} image features and the fitted state "
                f"of {len(saved.fitted)}; train the model again."
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


def _parse_list(text: str) -> list[Any]:
    """Parse a YAML list given as text on the command line."""
    try:
        items = parse_yaml(text)
    except yaml.YAMLError:
        items = None
    if not isinstance(items, list):
        raise CallError(
            f"The chain {text[:60]!r} is not a list; write for example "
            "'[{kpca: {components: 5, gamma: 0.01}}, esdap]'."
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
