"""Options that a message names, as the command that was called has them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["fitting", "options_of", "verbs"]

_OPTION = re.compile(
    r"(?<![\w-])(--[a-z][a-z0-9-]*)(?: ([A-Z]{2,}|[^\s,.;:()]+(?:,[^\s,.;:()]+)+))?"
)
_KEYS = {
    "--axes": "scene.axes",
    "--drop-bands": "scene.drop_bands",
    "--keep-bands": "scene.keep_bands",
    "--label-field": "scene.label_field",
    "--label-variable": "scene.label_variable",
    "--labels": "scene.labels",
    "--label-layer": "scene.label_layer",
    "--legend": "scene.legend",
    "--min-pixels": "scene.min_pixels",
    "--nodata": "scene.nodata",
    "--variable": "scene.variable",
}
"""What an experiment file calls what other commands take as options."""


def verbs(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Go through the commands below a group, each with its whole name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for verb, one in inner.items():
        yield from verbs(one, f"{name} {verb}".strip())


def options_of(command: Any) -> frozenset[str]:
    """Return the long options of a command."""
    names = (name for one in command.params for name in (*one.opts, *one.secondary_opts))
    return frozenset(name for name in names if name.startswith("--"))


def fitting(message: str, name: str, every: Mapping[str, Any]) -> str:
    """Return a message that advises no option which the command lacks.

    Why it exists: readers of images are called by many commands, of which some take
    everything from an experiment file, and others have fewer options.

    Parameters
    ----------
    message : str
    name : str
        Name of the command that was called, such as ``libsvm write``.
    every : mapping
        All commands by name, as :func:`verbs` gives them.
    """
    known = {verb: options_of(command) for verb, command in every.items()}
    own = known[name]

    def said(found: re.Match[str]) -> str:
        option, value = found[1], found[2]
        if option in own or option not in _KEYS or "--set" not in own:
            return found[0]
        return f"--set {_KEYS[option]}={value or '…'}"

    message = _OPTION.sub(said, message)
    lacking = dict.fromkeys(
        found[1] for found in _OPTION.finditer(message) if found[1] not in own
    )
    told = []
    for option in lacking:
        having = [verb for verb, options in known.items() if option in options]
        if having:
            listed = ", ".join(having[:6])
            told.append(f"{option} is an option of other commands: {listed}.")
    return " ".join([message, *told])
