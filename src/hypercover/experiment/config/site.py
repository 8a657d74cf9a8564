"""What a cluster is asked for unless somebody says otherwise: ``site.yaml``."""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hypercover.errors import CallError
from hypercover.jobs.resources import JobResources
from hypercover.scene.io.safe_parsers import parse_yaml, yaml_problem

__all__ = ["Scheduler", "parse_resources", "site_defaults", "site_path"]

_LARGEST = 2**16
"""Bytes."""
Scheduler = Literal["slurm", "pbs-torque", "pbs-pro"]
_Kind = TypeVar("_Kind", bound=BaseModel)


class _Choice(BaseModel):
    """The batch system that a site has."""

    model_config = ConfigDict(extra="forbid")

    scheduler: Scheduler | None = None


_KEYS = (*_Choice.model_fields, *JobResources.model_fields)


def site_path() -> Path:
    """Return where the defaults of a site are read from."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "hypercover" / "site.yaml"


def site_defaults() -> dict[str, Any]:
    """Return what the file of the site asks for; nothing where there is none.

    Raises
    ------
    CallError
        If the file cannot be read or asks for something unknown.
    """
    path = site_path()
    try:
        with path.open("rb") as opened:
            text = opened.read(_LARGEST + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CallError(f"{path} cannot be read ({error.strerror}); mend it.") from None
    if len(text) > _LARGEST:
        raise CallError(f"{path} is larger than 64 KiB; that is no file of defaults.")
    try:
        wishes = parse_yaml(text.decode())
    except UnicodeDecodeError:
        raise CallError(f"{path} is not text; write it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise CallError(f"{path} is not valid YAML{yaml_problem(error)}.") from None
    if wishes is None:
        return {}
    if not isinstance(wishes, dict):
        raise CallError(
            f"{path} must be a mapping of keys to values, such as partition: main."
        )
    _validated(_Choice, {k: v for k, v in wishes.items() if k == "scheduler"}, str(path))
    _validated(
        JobResources, {k: v for k, v in wishes.items() if k != "scheduler"}, str(path)
    )
    return wishes


def parse_resources(
    wishes: dict[str, Any], where: str = "What is asked for"
) -> JobResources:
    """Check what is asked of a batch system.

    Raises
    ------
    CallError
        About everything that is wrong.
    """
    return _validated(JobResources, wishes, where)


def _validated(kind: type[_Kind], values: dict[str, Any], where: str) -> _Kind:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(map(_fault, error.errors()))
        raise CallError(f"{where} is not valid: {faults}.") from None


def _fault(fault: Any) -> str:
    """Say what is wrong with a wish, and what it might be."""
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{name} is an unknown key; known are {', '.join(_KEYS)}"
    if fault["type"] == "tuple_type":
        return f"{name} must be a list, such as [a, b], got {str(fault['input'])[:60]!r}"
    said = fault["msg"].removeprefix("Value error, ").rstrip(".")[:200]
    if not said.startswith("Input "):
        return f"{name} {said}".lstrip()
    wish = said.removeprefix("Input ").partition(", got")[0].partition(", unable")[0]
    return f"{name} {wish.replace('should', 'must')}, got {str(fault['input'])[:60]!r}"
