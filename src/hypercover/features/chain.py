"""Chains: image features one after another, from the bands of a scene to a stack."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

import yaml

from hypercover.errors import CallError, ModelError
from hypercover.features.feature import (
    Arrays,
    Feature,
    Progress,
    SavedSettings,
    Settings,
    subprogress,
)
from hypercover.scene.io.safe_parsers import parse_yaml
from hypercover.scene.scene import Scene

__all__ = [
    "FEATURES",
    "NAMED_CHAINS",
    "NWFE_FEATURES",
    "ROME_AREAS",
    "Chain",
    "ChainSpec",
    "ChainStep",
]


@dataclass(frozen=True)
class _FeatureEntry:
    """Where a feature lives and what stands behind its colon."""

    home: str
    """Module of this room."""
    name: str
    """Name of the class."""
    main: str
    """The setting that the text form gives, as in ``kpca:5``."""
    words: str
    """What it is, for people."""


FEATURES: Mapping[str, _FeatureEntry] = {
    "kpca": _FeatureEntry("kpca", "KPCA", "components", "kernel principal components"),
    "pca": _FeatureEntry("pca", "PCA", "components", "principal components"),
    "mnf": _FeatureEntry("mnf", "MNF", "components", "minimum noise fraction"),
    "esdap": _FeatureEntry(
        "profiles", "Profiles", "attributes", "self-dual attribute profiles"
    ),
}

_LIST_SETTING = "attributes"
"""The main setting that is a list of words and not a count."""

_MAX_TEXT = 200


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain as somebody asked for it: a feature and its settings."""

    name: str
    """Name in the catalogue."""
    given: Mapping[str, Any]
    """Settings that were given; the feature knows the rest."""

    @classmethod
    def of(cls, item: object) -> "ChainStep":
        """Read ``"kpca:5"`` or ``{"kpca": {"components": 5}}``.

        Raises
        ------
        CallError
            If there is no such feature or it has no such setting.
        """
        if isinstance(item, str):
            name, colon, argument = (part.strip() for part in item.partition(":"))
            return cls(
                _check_name(name), _parse_settings(name, argument if colon else None)
            )
        if isinstance(item, Mapping) and len(item) == 1:
            (name, value), *_ = item.items()
            return cls(_check_name(name), _parse_settings(str(name), value))
        raise CallError(
            f"A step of a chain is written kpca:5 or {{kpca: {{components: 5}}}}, got "
            f"{str(item)[:60]!r}."
        )

    def feature(self) -> Feature:
        """Make the feature, not fitted yet."""
        feature: Feature = self.feature_class()(**self.given)
        return feature

    def feature_class(self) -> Any:
        """Import the class of the feature."""
        entry = FEATURES[self.name]
        return getattr(import_module(f"hypercover.features.{entry.home}"), entry.name)

    def to_json(self) -> dict[str, Any]:
        """Return the form that :meth:`of` reads."""
        return {self.name: dict(self.given)}

    @property
    def text(self) -> str:
        """The step in a few signs: ``kpca:5`` where that says it all."""
        main = FEATURES[self.name].main
        rest = {key: value for key, value in self.given.items() if key != main}
        text = self.name
        if main in self.given:
            text += f":{_format_setting(self.given[main], '+')}"
        if rest:
            text += f" ({', '.join(f'{key} {_format_setting(rest[key])}' for key in rest)})"
        return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 2]} …"


def _format_setting(value: Any, between: str = " ") -> str:
    """Write a setting for people: lists and mappings without brackets and quotes."""
    if isinstance(value, Mapping):
        return between.join(f"{key} {_format_setting(value[key])}" for key in value)
    if isinstance(value, list | tuple):
        return between.join(map(str, value))
    return str(value)


def _check_name(name: object) -> str:
    if name in FEATURES:
        return str(name)
    if name == "nwfe":
        raise CallError(
            "NWFE learns from labels, so it is no part of a chain of image features; ask "
            "for it under the model, as in nwfe: 30."
        )
    listed = ", ".join(f"{key} ({entry.words})" for key, entry in FEATURES.items())
    raise CallError(
        f"There is no image feature {str(name)[:40]!r}; known are {listed}, and the chains "
        f"{', '.join(NAMED_CHAINS)}."
    )


def _parse_settings(name: str, value: object) -> dict[str, Any]:
    """Return the settings of a step, checked by name."""
    main = FEATURES[name].main
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return {main: _parse_main_setting(name, main, value)}
    known = list(inspect.signature(ChainStep(name, {}).feature_class()).parameters)
    unknown = [str(key)[:40] for key in value if key not in known]
    if unknown:
        raise CallError(
            f"The feature {name} has no setting {', '.join(unknown)}; it has "
            f"{', '.join(known)}."
        )
    given = dict(value)
    if main == _LIST_SETTING and main in given:
        given[main] = _parse_main_setting(name, main, given[main])
    return given


def _parse_main_setting(name: str, main: str, value: object) -> Any:
    """Read what stands behind the colon: a count, or words joined by +."""
    if main == _LIST_SETTING:
        words = value if isinstance(value, list | tuple) else str(value).split("+")
        return tuple(str(word).strip() for word in words)
    try:
        return int(str(value))
    except ValueError:
        raise CallError(
            f"{name}:{str(value)[:40]} is not understood; behind the colon stands how "
            f"many {main}, as in {name}:5."
        ) from None


ChainSpec = str | Sequence[str | Mapping[str, Any]]
"""How a chain is written: ``"kpca:5,esdap:area"``, or the list form of YAML."""

_MAX_STEPS = 16


class _ChainSettings(SavedSettings):
    steps: list[Any]
    fitted: list[dict[str, Any]]
    """Settings of each fitted feature."""


@dataclass
class Chain:
    """Image features one after another; each takes the scene that the one before made.

    Why it exists: the lecture's features are such a chain (KPCA, then attribute
    profiles of its components), and an experiment, the command and a saved
    model must mean the same by its name.  It is fitted on all pixels with data
    and on no label.

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
    """What was asked for."""

    def __post_init__(self) -> None:
        """Make the features, so that settings no feature can have are refused at once."""
        if not 1 <= len(self.steps) <= _MAX_STEPS:
            raise CallError(
                f"A chain has 1 to {_MAX_STEPS} steps, got {len(self.steps)}; write for "
                "example kpca:5,esdap:area+std."
            )
        self.features: tuple[Feature, ...] = tuple(step.feature() for step in self.steps)

    @classmethod
    def parse(cls, spec: ChainSpec) -> Self:
        """Read a chain from text or from the list form of YAML.

        Parameters
        ----------
        spec : str or list
            ``"kpca:5,esdap:area+std"``, the name of a chain such as ``"rome"``, or
            a list of such texts and of ``{feature: {setting: value}}``, which may
            itself be text: ``"[{kpca: {components: 5, gamma: 0.01}}, esdap]"``.

        Raises
        ------
        CallError
            If a step is not understood; what there is, is named.
        """
        if isinstance(spec, str):
            items = _parse_list(spec) if spec.lstrip().startswith("[") else [spec]
        else:
            items = list(spec)
        return cls(tuple(step for item in items for step in _parse_item(item)))

    @property
    def text(self) -> str:
        """The chain in one line, as it is written: ``kpca:5,esdap:area``."""
        return ",".join(step.text for step in self.steps)

    @property
    def reach(self) -> int | None:
        """Pixels around a pixel that its value depends on; None = any distance."""
        total = 0
        for feature in self.features:
            if feature.reach is None:
                return None
            total += feature.reach
        return total

    def outputs(self, bands: int) -> int:
        """Return how many features it makes at most of so many bands.

        Raises
        ------
        CallError
            If a step is asked for more components than it is given bands.
        """
        for feature in self.features:
            bands = feature.outputs(bands)
        return bands

    def describe(self) -> str:
        """Say in a few words what the chain does."""
        return f"image features {self.text}"

    def fit(self, scene: Scene, *, seed: int = 0) -> Self:
        """Fit each step on the scene as the steps before it made it.

        Raises
        ------
        SceneError
            If a step cannot learn from what it is given.
        """
        for feature in self.features[:-1]:
            scene = feature.fit(scene, seed=seed).transform(scene)
        self.features[-1].fit(scene, seed=seed)
        return self

    def fit_transform(
        self, scene: Scene, *, seed: int = 0, progress: Progress | None = None
    ) -> Scene:
        """Fit the chain and return the scene of its features, each step done once."""
        for place, feature in enumerate(self.features):
            said = subprogress(progress, place, len(self.features))
            scene = _fit_transform(feature, scene, seed, said)
        return scene

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene with the features of the fitted chain as its bands."""
        for place, feature in enumerate(self.features):
            said = subprogress(progress, place, len(self.features))
            scene = feature.transform(scene, progress=said)
        return scene

    def state(self) -> tuple[Settings, Arrays]:
        """Return the fitted chain as JSON-able settings and plain arrays.

        The arrays of the first step are named ``0.mean`` and so on.
        """
        states = [feature.state() for feature in self.features]
        arrays = {
            f"{place}.{name}": array
            for place, (_, own) in enumerate(states)
            for name, array in own.items()
        }
        steps = [step.to_json() for step in self.steps]
        return {"steps": steps, "fitted": [settings for settings, _ in states]}, arrays

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Return the fitted chain that :meth:`state` described, trusting nothing.

        Raises
        ------
        ModelError
            If something is missing, is of another form or does not fit the rest.
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
        chain.features = tuple(
            step.feature_class().from_state(own, _arrays_of_step(arrays, place))
            for place, (step, own) in enumerate(zip(chain.steps, saved.fitted, strict=True))
        )
        return chain


def _fit_transform(
    feature: Feature, scene: Scene, seed: int, progress: Progress | None
) -> Scene:
    """Fit a step and return its features; a fit that reports counts for half of it."""
    learning, reported = subprogress(progress, 0, 2), False

    def said(done: int, total: int) -> None:
        nonlocal reported
        reported = True
        if learning is not None:
            learning(done, total)

    feature.fit(scene, seed=seed, progress=said)
    rest = subprogress(progress, 1, 2) if reported else progress
    return feature.transform(scene, progress=rest)


def _parse_list(text: str) -> list[Any]:
    """Read the list form of YAML out of a text, as a command is given it."""
    try:
        listed = parse_yaml(text)
    except yaml.YAMLError:
        listed = None
    if not isinstance(listed, list):
        raise CallError(
            f"The chain {text[:60]!r} is no list; write for example "
            "'[{kpca: {components: 5, gamma: 0.01}}, esdap]'."
        )
    return listed


def _parse_item(item: str | Mapping[str, Any]) -> list[ChainStep]:
    """Read one item of a list, or a whole text of steps and named chains."""
    if not isinstance(item, str):
        return [ChainStep.of(item)]
    steps: list[ChainStep] = []
    for part in (part.strip() for part in item.split(",")):
        if part in NAMED_CHAINS:
            steps += Chain.parse(NAMED_CHAINS[part]).steps
        else:
            steps.append(ChainStep.of(part))
    return steps


def _arrays_of_step(arrays: Arrays, place: int) -> Arrays:
    start = f"{place}."
    return {
        name.removeprefix(start): array
        for name, array in arrays.items()
        if name.startswith(start)
    }


ROME_AREAS = tuple(round(1000 / 0.6 * step) for step in range(1, 11))
"""Ten area thresholds in pixels by the published formula at Quickbird's 0.6 m."""

NAMED_CHAINS: dict[str, list[str | dict[str, Any]]] = {
    "rome": [{"esdap": {"attributes": ["area"], "thresholds": {"area": list(ROME_AREAS)}}}],
    "lecture": ["kpca:5", "esdap:area+std"],
}
"""Each chain as it would stand in an experiment file.

``rome`` makes the 55 features of the Rome scene from its 5 bands (panchromatic
and four pansharpened): 5 × (1 + 10 areas).  The areas that were used have not
been published; these follow the formula.
"""

NWFE_FEATURES = {"lecture": 30}
"""Features that NWFE makes of a chain's, where its name means that as well.

NWFE learns from labelled training pixels, so a chain, which sees no label, stops before it.
"""
