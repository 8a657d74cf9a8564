"""Experiment files: reading, writing, and messages about what is wrong with one."""

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from hypercover.errors import ExperimentError
from hypercover.experiment.config.schema import Experiment, SplitSpec
from hypercover.files import write_text
from hypercover.scene.io.safe_parsers import parse_yaml, yaml_problem

_LARGEST = 2**20
"""Bytes of the largest experiment file."""
_BOUNDS = ("greater_than", "less_than", "finite_number")
"""Types of pydantic's errors about the bounds of a number."""
_PATHS = (("scene", "path"), ("scene", "labels"), ("scene", "legend"))
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
    """
    path = _located(source)
    document = _document(path)
    here = Path.cwd()
    for override in overrides:
        _override(document, override, here)
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
        experiment = Experiment.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(_faults(error.errors(), document))
        raise ExperimentError(f"{title} is not valid: {faults}.") from None
    return _resolved(experiment, folder, title)


def dump(experiment: Experiment, path: Path) -> None:
    """Write an experiment; reading the file gives the same experiment."""
    values = experiment.model_dump(mode="json", exclude_defaults=False, exclude_none=True)
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _located(source: str | Path) -> Path:
    path = Path(source)
    known = built_in()
    if path.is_file():
        return path
    if str(source) in known:
        return known[str(source)]
    raise ExperimentError(
        f"No experiment file {source} was found; give a YAML file or one of the built-in "
        f"names: {', '.join(known) or 'none'}."
    )


def _document(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise ExperimentError(f"{path} is larger than 1 MiB; give an experiment file.")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(
            f"{path} cannot be read ({error.strerror}); give a YAML file you may read."
        ) from None
    except UnicodeDecodeError:
        raise ExperimentError(f"{path} is not text; give a YAML file.") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is not valid YAML{yaml_problem(error)}.") from None


def _is_path(names: list[str]) -> bool:
    """Tell whether the text of a key is a path."""
    of_split = names[0] in ("split", "beside") and names[-1] in ("train", "test", "path")
    of_model = len(names) == 3 and (names[0], names[2]) == ("models", "windows")
    return of_split or of_model or tuple(names) in _PATHS


def _override(document: Any, override: str, here: Path) -> None:
    key, separator, text = override.partition("=")
    names = key.strip().split(".")
    if not separator or not all(names):
        raise ExperimentError(f"--set {override!r} is not understood; {_FORM}.")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        raise ExperimentError(f"--set {override!r} has no YAML value; {_FORM}.") from None
    if _is_path(names) and isinstance(value, str):
        # A path typed at the prompt is relative to where it was typed.
        value = str(here / value)
    target = document
    for name in names[:-1]:
        if not isinstance(target, dict):
            raise ExperimentError(
                f"--set {override!r} goes into a value, not a mapping; {_FORM}."
            )
        target = target.setdefault(name, {})
    if not isinstance(target, dict):
        raise ExperimentError(
            f"--set {override!r} goes into a value, not a mapping; {_FORM}."
        )
    target[names[-1]] = value


def _faults(errors: Iterable[Mapping[str, Any]], document: Any) -> list[str]:
    """Yield each error once: its path in the document, what is allowed, and the value."""
    by_place: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for error in errors:
        by_place.setdefault(_place(error["loc"], document), []).append(error)
    return [_fault(place, entries, document) for place, entries in by_place.items()]


def _fault(place: tuple[Any, ...], errors: list[Mapping[str, Any]], document: Any) -> str:
    where = ".".join(map(str, place))
    kind, found = errors[0]["type"], errors[0]["input"]
    if kind == "extra_forbidden":
        allowed = _keys_at(place[:-1], document)
        near = difflib.get_close_matches(str(place[-1]), allowed, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{where} is an unknown key{hint}; allowed here: {', '.join(allowed)}"
    if kind == "missing":
        return f"{where} is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = found.get("kind") if isinstance(found, dict) else found
        return f"{where}.kind must be one of {_kinds(place, document)}, got {given!r}"
    rules = [_rule(error) for error in _nearest(errors)]
    if not place:
        return "; ".join(dict.fromkeys(rules))
    return f"{where} {' or '.join(dict.fromkeys(rules))}, got {_short(found)}"


def _nearest(errors: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Keep the errors about bounds, if any: other allowed types are no help then."""
    bounds = [error for error in errors if str(error["type"]).startswith(_BOUNDS)]
    return bounds or errors


def _rule(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = message.partition(", unable to")[0].partition(", got a")[0]
    return message[0].lower() + message[1:]


def _short(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else text[:57] + "…"


def _place(location: tuple[Any, ...], document: Any) -> tuple[Any, ...]:
    """Drop the names of types that pydantic mixes into the path of an error."""
    place: list[Any] = []
    here = document
    for position, step in enumerate(location):
        last = position == len(location) - 1
        if isinstance(here, dict) and (step in here or (last and not _is_type(step))):
            place.append(step)
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int):
            place.append(step)
            here = here[step] if step < len(here) else None
    return tuple(place)


def _is_type(step: object) -> bool:
    text = str(step)
    return "[" in text or text in {"int", "float", "str", "bool", *_split_kinds()}


@cache
def _split_kinds() -> frozenset[str]:
    """Name the kinds of splits, which pydantic mixes into the path of an error."""
    return frozenset(spec.model_fields["kind"].default for spec in _models(SplitSpec))


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
        fields = [
            spec.model_fields[step].annotation
            for spec in specs
            if step in spec.model_fields
        ]
        specs = [model for field in fields for model in _models(field)] or specs
    kind = here.get("kind") if isinstance(here, dict) else None
    chosen = [
        spec
        for spec in specs
        if "kind" in spec.model_fields and spec.model_fields["kind"].default == kind
    ]
    return chosen or specs


def _keys_at(place: tuple[Any, ...], document: Any) -> list[str]:
    return sorted({key for spec in _specs_at(place, document) for key in spec.model_fields})


def _kinds(place: tuple[Any, ...], document: Any) -> str:
    specs = _specs_at(place, document)
    kinds = [
        spec.model_fields["kind"].default for spec in specs if "kind" in spec.model_fields
    ]
    return ", ".join(repr(kind) for kind in kinds)


def _resolved(experiment: Experiment, folder: Path, title: str) -> Experiment:
    """Make every path absolute and check that each file exists."""
    values = experiment.model_dump(mode="python")
    missing: list[str] = []

    def settle(holder: dict[str, Any], key: str, where: str) -> None:
        if isinstance(holder.get(key), Path):
            holder[key] = (folder / holder[key].expanduser()).resolve()
            try:
                holder[key].stat()
            except (FileNotFoundError, NotADirectoryError):
                missing.append(f"{where}: no file {holder[key]}")
            except OSError as error:
                missing.append(
                    f"{where}: {holder[key]} cannot be opened ({error.strerror})"
                )

    for outer, key in _PATHS:
        settle(values[outer], key, f"{outer}.{key}")
    named = {"split": values["split"]} | {
        f"beside.{k}": v for k, v in values["beside"].items()
    }
    for where, split in named.items():
        for key in ("train", "test", "path"):
            settle(split, key, f"{where}.{key}")
    for name, model in values["models"].items():
        settle(model, "windows", f"models.{name}.windows")
    if missing:
        raise ExperimentError(
            f"{title} names files that cannot be read: {'; '.join(missing)}; "
            f"correct the paths, which count from {folder.resolve()}, or give others with "
            "--set, for example --set scene.path=cube.hdr."
        )
    return TypeAdapter(Experiment).validate_python(values)
