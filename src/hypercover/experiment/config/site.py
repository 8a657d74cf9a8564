"""The defaults of a cluster, ``site.yaml``: its batch system and resources of every job."""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from hypercover.errors import CallError
from hypercover.experiment.config.experiment_file import read_yaml
from hypercover.jobs.resources import JobResources

_MAX_BYTES = 2**16
Scheduler = Literal["slurm", "pbs-torque", "pbs-pro"]
_Model = TypeVar("_Model", bound=JobResources)


class _Site(JobResources):
    """The keys of ``site.yaml``."""

    scheduler: Scheduler | None = None


_KEYS = ("scheduler", *JobResources.model_fields)


def site_path() -> Path:
    """Return the path of the file with the site's defaults."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "hypercover" / "site.yaml"


def site_defaults() -> tuple[Scheduler | None, dict[str, Any]]:
    """Read the batch system of the site and its resources; both empty without a file.

    Raises
    ------
    CallError
        If the file cannot be read, or holds unknown keys or values.
    """
    path = site_path()
    if not path.exists():
        return None, {}
    values = read_yaml(path, most=_MAX_BYTES)
    if values is None:
        return None, {}
    if not isinstance(values, dict):
        raise CallError(
            f"{path} must be a mapping of keys to values, such as partition: main."
        )
    scheduler = _validated(_Site, values, str(path)).scheduler
    return scheduler, {key: value for key, value in values.items() if key != "scheduler"}


def update_resources(defaults: dict[str, Any], given: dict[str, Any]) -> JobResources:
    """Replace default resources by those that are given, and check the result.

    Memory per core replaces the memory of a machine, and the other way round.

    Raises
    ------
    CallError
        About everything that is wrong.
    """
    values = defaults | given
    for own, other in (("memory", "memory_per_cpu"), ("memory_per_cpu", "memory")):
        if own in given and other not in given:
            values.pop(other, None)
    return _validated(JobResources, values, "A requested resource")


def _validated(model: type[_Model], values: dict[str, Any], source: str) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(map(_fault, error.errors()))
        raise CallError(f"{source} is not valid: {faults}.") from None


def _fault(fault: Any) -> str:
    """Describe what is wrong with a value, and what it may be."""
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{name} is an unknown key; known are {', '.join(_KEYS)}"
    if fault["type"] == "tuple_type":
        return f"{name} must be a list, such as [a, b], got {str(fault['input'])[:60]!r}"
    message = fault["msg"].removeprefix("Value error, ").rstrip(".")[:200]
    if not message.startswith("Input "):
        return f"{name} {message}".lstrip()
    rule = message.removeprefix("Input ").partition(", got")[0].partition(", unable")[0]
    return f"{name} {rule.replace('should', 'must')}, got {str(fault['input'])[:60]!r}"
