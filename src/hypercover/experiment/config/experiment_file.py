"""Experiment files: reading, writing, and messages about what is wrong with one."""

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from hypercover.errors import ExperimentError, shorten
from hypercover.experiment.config.schema import MISSING_FILE, Experiment
from hypercover.files import write_text
from hypercover.scene.io.safe_parsers import parse_yaml, yaml_problem

_LARGEST = 2**20
"""Bytes of the largest experiment file."""
_BOUNDS = ("greater_than", "less_than", "finite_number")
"""Types of pydantic's errors about the bounds of a number."""
_PATHS = {
    *(("scene", key) for key in ("path", "labels", "legend")),
    *((part, key) for part in ("split", "beside") for key in ("train", "test", "path")),
    ("models", "windows"),
}
"""First and last names of keys whose text is a path."""
_FORM = "write it as KEY=VALUE, for example --set scene.path=cube.hdr"


def built_in() -> dict[str, Path]:
    """List the experiments that come with the package, by name."""
    folder = Path(str(resources.files("hypercover") / "experiments"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_experiment(source: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment file, or one that comes with the package by its name.

    Parameters
    ----------
    source : path or name
    overrides : iterable of ``key.inner=value``
        Each value is read as YAML.

    Raises
    ------
    ExperimentError
        If the file is missing, is not YAML, or is not valid; every error is named with
        its path in the document.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import hypercover as hc
    >>> image, labels = hc.simulate(mkdtemp() + "/s.tif", rows=32, cols=32, bands=8, classes=3)
    >>> paths = [f"scene.path={image}", f"scene.labels={labels}"]
    >>> load_experiment("demo", ["name=mine", *paths]).name
    'mine'
    """
    path, names = Path(source), built_in()
    if not path.is_file():
        if str(source) not in names:
            raise ExperimentError(
                f"No experiment file {source} was found; give a YAML file or one of "
                f"{', '.join(names)}."
            )
        path = names[str(source)]
    document = read_yaml(path)
    for override in overrides:
        _override(document, override)
    return parse(document, path.parent, title=str(source))


def as_experiment(source: Experiment | Mapping[str, Any] | str | Path) -> Experiment:
    """Return an experiment from itself, a mapping with the keys of a file, a path or a name.

    Relative paths of a mapping are resolved against the working directory.

    Raises
    ------
    ExperimentError
        As `load_experiment`.
    """
    if isinstance(source, Experiment):
        return source
    if isinstance(source, Mapping):
        return parse(dict(source), Path.cwd())
    return load_experiment(source)


def parse(document: Any, folder: Path, *, title: str = "experiment") -> Experiment:
    """Check a whole document and resolve its paths against a folder."""
    if not isinstance(document, dict):
        raise ExperimentError(
            f"{title} must be a mapping of keys to values, got {type(document).__name__}; "
            "start it with name:, scene:, split: and models:."
        )
    try:
        return Experiment.model_validate(document, context={"folder": folder})
    except ValidationError as error:
        errors = error.errors()
    # By place, as a value that may be of several types has an error for each.
    places: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for entry in errors:
        places.setdefault(_place(entry, document), []).append(entry)
    files = [place for place, found in places.items() if found[0]["type"] == MISSING_FILE]
    faults = [_fault(*item, document) for item in places.items() if item[0] not in files]
    if faults:
        raise ExperimentError(f"{title} is not valid: {'; '.join(faults)}.")
    missing = (f"{'.'.join(map(str, at))}: {places[at][0]['msg']}" for at in files)
    raise ExperimentError(
        f"{title} names files that cannot be read: {'; '.join(missing)}; correct the "
        "paths, which count "
        f"from {folder.resolve()}, or give others with --set, for example --set "
        "scene.path=cube.hdr."
    )


def dump(experiment: Experiment, path: Path) -> None:
    """Write an experiment; reading the file gives the same experiment."""
    values = experiment.model_dump(mode="json", exclude_defaults=False, exclude_none=True)
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def read_yaml(path: Path, *, most: int = _LARGEST) -> Any:
    """Read a YAML file of at most this many bytes.

    Raises
    ------
    ExperimentError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(most + 1)
        if len(text) > most:
            size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
            raise ExperimentError(
                f"{path} is larger than {size}; give a smaller YAML file."
            )
        return parse_yaml(text.decode())
    except OSError as error:
        raise ExperimentError(
            f"{path} cannot be read ({error.strerror}); give a YAML file you may read."
        ) from None
    except UnicodeDecodeError:
        raise ExperimentError(f"{path} is not text; give a YAML file.") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is not valid YAML{yaml_problem(error)}.") from None


def _override(document: Any, override: str) -> None:
    key, separator, text = override.partition("=")
    names = key.strip().split(".")
    if not separator or not all(names):
        raise ExperimentError(f"--set {override!r} is not understood; {_FORM}.")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        raise ExperimentError(f"--set {override!r} has no YAML value; {_FORM}.") from None
    if isinstance(value, str) and (names[0], names[-1]) in _PATHS:
        # A path typed at the prompt is relative to where it was typed.
        value = str(Path.cwd() / value)
    target = document
    for name in names[:-1]:
        target = target.setdefault(name, {}) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        raise ExperimentError(
            f"--set {override!r} goes into a value, not a mapping; {_FORM}."
        )
    target[names[-1]] = value


def _fault(place: tuple[Any, ...], errors: list[Mapping[str, Any]], document: Any) -> str:
    where = ".".join(map(str, place))
    kind, value = errors[0]["type"], errors[0]["input"]
    if kind == "extra_forbidden":
        specs = _specs_at(place[:-1], document)
        allowed = sorted({key for spec in specs for key in spec.model_fields})
        near = difflib.get_close_matches(str(place[-1]), allowed, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{where} is an unknown key{hint}; allowed here: {', '.join(allowed)}"
    if kind == "missing":
        return f"{where} is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        named = value.get("kind") if isinstance(value, dict) else value
        kinds = map(repr, filter(None, map(_kind, _specs_at(place, document))))
        return f"{where}.kind must be one of {', '.join(kinds)}, got {named!r}"
    # Of a number out of bounds, other allowed types are no help.
    bounds = [error for error in errors if str(error["type"]).startswith(_BOUNDS)]
    rules = dict.fromkeys(map(_rule, bounds or errors))
    if not place:
        return "; ".join(rules)
    return f"{where} {' or '.join(rules)}, got {shorten(repr(value), 60)}"


def _rule(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = message.partition(", unable to")[0].partition(", got a")[0]
    return message[0].lower() + message[1:]


def _place(error: Mapping[str, Any], document: Any) -> tuple[Any, ...]:
    """Return the path of an error without the names of types that pydantic mixes in."""
    place: list[Any] = []
    here = document
    for step in error["loc"]:
        if isinstance(here, dict) and step in here:
            place.append(step)
            here = here[step]
        elif isinstance(here, list) and isinstance(step, int):
            place.append(step)
            here = here[step] if step < len(here) else None
    return (*place, error["loc"][-1]) if error["type"] == "missing" else tuple(place)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _specs_at(place: tuple[Any, ...], document: Any) -> list[type[BaseModel]]:
    """List the specs allowed at a place, narrowed by ``kind``."""
    specs: list[type[BaseModel]] = [Experiment]
    here = document
    for step in place:
        here = here.get(step) if isinstance(here, dict) else None
        fields = [spec.model_fields[step] for spec in specs if step in spec.model_fields]
        specs = [model for field in fields for model in _models(field.annotation)] or specs
    kind = here.get("kind") if isinstance(here, dict) else None
    return [spec for spec in specs if kind and _kind(spec) == kind] or specs


def _kind(spec: type[BaseModel]) -> str | None:
    field = spec.model_fields.get("kind")
    return field.default if field else None
