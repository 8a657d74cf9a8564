"""The image features there are, by the names that a chain calls them."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hypercover.errors import CallError
from hypercover.features.feature import Feature
from hypercover.features.named import NAMED

__all__ = ["FEATURES", "Step"]


@dataclass(frozen=True)
class _Entry:
    """Where a feature lives and what stands behind its colon."""

    home: str
    """Module of this room."""
    name: str
    """Name of the class."""
    main: str
    """The setting that the text form gives, as in ``kpca:5``."""
    words: str
    """What it is, for people."""


FEATURES: Mapping[str, _Entry] = {
    "kpca": _Entry("kpca", "KPCA", "components", "kernel principal components"),
    "pca": _Entry("pca", "PCA", "components", "principal components"),
    "mnf": _Entry("mnf", "MNF", "components", "minimum noise fraction"),
    "esdap": _Entry("profiles", "Profiles", "attributes", "self-dual attribute profiles"),
}
_WORDS = "attributes"
"""The main setting that is a list of words and not a count."""
_MOST_TEXT = 200


@dataclass(frozen=True)
class Step:
    """One step of a chain as somebody asked for it: a feature and its settings."""

    name: str
    """Name in the catalogue."""
    given: Mapping[str, Any]
    """Settings that were given; the feature knows the rest."""

    @classmethod
    def of(cls, item: object) -> "Step":
        """Read ``"kpca:5"`` or ``{"kpca": {"components": 5}}``.

        Raises
        ------
        CallError
            If there is no such feature or it has no such setting.
        """
        if isinstance(item, str):
            name, colon, argument = (part.strip() for part in item.partition(":"))
            return cls(_known(name), _given(name, argument if colon else None))
        if isinstance(item, Mapping) and len(item) == 1:
            (name, value), *_ = item.items()
            return cls(_known(name), _given(str(name), value))
        raise CallError(
            f"A step of a chain is written kpca:5 or {{kpca: {{components: 5}}}}, got "
            f"{str(item)[:60]!r}."
        )

    def feature(self) -> Feature:
        """Make the feature, not fitted yet."""
        feature: Feature = self.kind()(**self.given)
        return feature

    def kind(self) -> Any:
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
            text += f":{_words(self.given[main], '+')}"
        if rest:
            text += f" ({', '.join(f'{key} {_words(rest[key])}' for key in rest)})"
        return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 2]} …"


def _words(value: Any, between: str = " ") -> str:
    """Write a setting for people: lists and mappings without brackets and quotes."""
    if isinstance(value, Mapping):
        return between.join(f"{key} {_words(value[key])}" for key in value)
    if isinstance(value, list | tuple):
        return between.join(map(str, value))
    return str(value)


def _known(name: object) -> str:
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
        f"{', '.join(NAMED)}."
    )


def _given(name: str, value: object) -> dict[str, Any]:
    """Return the settings of a step, checked by name."""
    main = FEATURES[name].main
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return {main: _main_value(name, main, value)}
    known = list(inspect.signature(Step(name, {}).kind()).parameters)
    unknown = [str(key)[:40] for key in value if key not in known]
    if unknown:
        raise CallError(
            f"The feature {name} has no setting {', '.join(unknown)}; it has "
            f"{', '.join(known)}."
        )
    given = dict(value)
    if main == _WORDS and main in given:
        given[main] = _main_value(name, main, given[main])
    return given


def _main_value(name: str, main: str, value: object) -> Any:
    """Read what stands behind the colon: a count, or words joined by +."""
    if main == _WORDS:
        words = value if isinstance(value, list | tuple) else str(value).split("+")
        return tuple(str(word).strip() for word in words)
    try:
        return int(str(value))
    except ValueError:
        raise CallError(
            f"{name}:{str(value)[:40]} is not understood; behind the colon stands how "
            f"many {main}, as in {name}:5."
        ) from None
