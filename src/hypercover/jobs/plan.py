"""Tasks and plans: what is to be done and in which order, as plain data.

A plan knows no science.  A task names its kind, out of a closed registry, and its
arguments; a plan puts tasks into an order in which each finds what it needs.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hypercover.errors import CallError, counted, first_fault
from hypercover.files import write_json

_SHOWN = 60
"""Characters of a hostile file that a message repeats at most."""


class Arguments(BaseModel):
    """The arguments of a kind of task; this base class has none.

    Subclasses add fields.  The values come from JSON: they are not converted, and unknown
    arguments are errors.

    Examples
    --------
    >>> class Square(Arguments):
    ...     number: int
    >>> Square.model_validate({"number": 3})
    Square(number=3)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class TaskKind:
    """A kind of task: its function and arguments."""

    function: str
    """``package.module:function``; imported when the first such task is done."""
    arguments: type[Arguments] = Arguments
    """Model of the arguments of the function, besides the run folder."""

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        function: Callable[..., Any] = resolve_name(self.function)
        return function


@dataclass(frozen=True)
class Registry:
    """The kinds of task that plans may hold, by name.

    A plan is data, and data from a stranger must not choose which code runs.

    Examples
    --------
    >>> kinds = Registry("shop:KINDS", {"tidy": TaskKind("shop.work:tidy")})
    >>> kinds.check("tidy", {})
    >>> kinds.check("os.system", {})
    Traceback (most recent call last):
    ...
    hypercover.errors.CallError: There is no kind of task 'os.system'; known are tidy.
    """

    home: str
    """``package.module:NAME`` from which other processes import this registry."""
    kinds: Mapping[str, TaskKind]
    """The kinds by name."""

    @classmethod
    def at(cls, home: str) -> "Registry":
        """Import a registry by its `home`, which must never come from a file.

        Raises
        ------
        CallError
            If there is no registry.
        """
        try:
            registry = resolve_name(home)
        except (ImportError, AttributeError, ValueError):
            registry = None
        if not isinstance(registry, cls):
            raise CallError(
                f"{home!r} is not a registry of tasks; give package.module:NAME of a Registry."
            )
        return registry

    def __getitem__(self, kind: str) -> TaskKind:
        """Return a kind of task by its name.

        Raises
        ------
        CallError
            If the name is unknown.
        """
        if kind not in self.kinds:
            known = ", ".join(sorted(self.kinds))
            raise CallError(
                f"There is no kind of task {kind[:_SHOWN]!r}; known are {known}."
            )
        return self.kinds[kind]

    def check(self, kind: str, arguments: Mapping[str, Any]) -> None:
        """Refuse unknown kinds and arguments.

        Raises
        ------
        CallError
        """
        try:
            self[kind].arguments.model_validate(dict(arguments))
        except ValidationError as error:
            fault = first_fault(error)
            raise CallError(
                f"A task of the kind {kind} takes other arguments ({fault})."
            ) from None


FOLDER = "tasks"
"""Folder inside a run folder that holds the plan and the results of its tasks."""

_FILE = "plan.json"

_FORMAT, _VERSION = "hypercover-plan", 2

_MOST_TEXT = 2**28

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,150}")

_KIND = re.compile(r"[a-z][a-z0-9_]{0,60}")

_TAKEN = {"inputs", "lock", "plan"}


@dataclass(frozen=True)
class Task:
    """A task: its kind, its arguments, and the tasks it needs.

    Examples
    --------
    >>> Task("train-svm-0", "train", {"model": "svm"}).needs
    ()
    """

    name: str
    """Name of the task and of its files: letters, digits and any of ``_ . + -``."""
    kind: str
    """Name of its kind in the registry of the plan."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of its function; plain JSON values."""
    needs: tuple[str, ...] = ()
    """Names of the tasks that must be done before."""
    weight: float = 1.0
    """Amount of work relative to other tasks of the plan."""
    key: str = ""
    """Whatever else the result depends on, such as a hash of settings and files: a result
    with another key is not reused."""

    def __post_init__(self) -> None:
        """Refuse names that a file from a stranger could misuse."""
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN:
            raise CallError(
                f"A task must have a name of letters, digits and _ . + - that begins with "
                f"a letter or digit, got {self.name[:80]!r}; choose another."
            )
        if not _KIND.fullmatch(self.kind):
            raise CallError(
                f"The task {self.name} must name its kind in a-z, 0-9 and _, got "
                f"{self.kind[:80]!r}."
            )
        if not 0 < self.weight < float("inf"):
            raise CallError(
                f"The task {self.name} must have a weight above 0, got {self.weight}."
            )
        self.content()

    def content(self) -> str:
        """Return everything the result depends on, as canonical JSON."""
        facts = [self.kind, dict(self.arguments), self.key]
        try:
            return json.dumps(facts, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CallError(
                f"The arguments of the task {self.name} must be plain JSON values, but {error}."
            ) from error


@dataclass(frozen=True)
class Plan:
    """Tasks in an order in which each comes after those it needs.

    Examples
    --------
    >>> from hypercover.jobs.plan import TaskKind
    >>> kinds = {name: TaskKind(f"shop.work:{name}") for name in ("draw", "train")}
    >>> shop = Registry("shop.work:KINDS", kinds)
    >>> tasks = (Task("draw", "draw", needs=("train",)), Task("train", "train"))
    >>> [task.name for task in Plan(tasks, shop).ordered]
    ['train', 'draw']
    """

    tasks: tuple[Task, ...]
    """The tasks; among those that are ready, the first one starts first."""
    registry: Registry
    """The kinds of task it may hold."""

    def __post_init__(self) -> None:
        """Refuse repeated names, unknown kinds, arguments and needs, and cycles."""
        counts = Counter(task.name for task in self.tasks)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise CallError(
                f"Each task needs its own name; given twice: {', '.join(twice)}."
            )
        for task in self.tasks:
            try:
                self.registry.check(task.kind, task.arguments)
            except CallError as error:
                raise CallError(f"The task {task.name} is refused: {error}") from None
            if unknown := [need for need in task.needs if need not in counts]:
                raise CallError(
                    f"The task {task.name} needs {', '.join(unknown)}, which the plan lacks."
                )
        _ = self.ordered

    @cached_property
    def _by_name(self) -> dict[str, Task]:
        return {task.name: task for task in self.tasks}

    @cached_property
    def ordered(self) -> tuple[Task, ...]:
        """The tasks, each after those it needs and otherwise in the given order."""
        sorter = TopologicalSorter({task.name: task.needs for task in self.tasks})
        try:
            names = tuple(sorter.static_order())
        except CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise CallError(f"The tasks need each other in a circle: {circle}.") from error
        return tuple(self._by_name[name] for name in names)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of each task in the given order, by name."""
        return {task.name: at for at, task in enumerate(self.tasks)}

    def depths(self, names: Collection[str]) -> dict[str, int]:
        """Return for some tasks, in order, the longest chain of needs among them before each."""
        depths: dict[str, int] = {}
        for task in self.ordered:
            if task.name in names:
                before = (depths[need] for need in task.needs if need in depths)
                depths[task.name] = 1 + max(before, default=-1)
        return depths

    @cached_property
    def width(self) -> int:
        """Tasks that may be ready at once: the most at one depth of needs."""
        return max(Counter(self.depths(self._by_name).values()).values(), default=1)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hash of everything a task's result depends on, its needs included, by name."""
        prints: dict[str, str] = {}
        for task in self.ordered:
            parts = [task.content(), *(prints[need] for need in sorted(task.needs))]
            prints[task.name] = _hash("\n".join(parts))
        return prints

    def task(self, name: str) -> Task:
        """Return one task by name.

        Raises
        ------
        CallError
            If the plan has no such task.
        """
        if name not in self._by_name:
            raise CallError(
                f"The plan has no task {name!r}; it has {', '.join(list(self._by_name)[:8])}"
                f"{' …' if len(self._by_name) > 8 else ''}."
            )
        return self._by_name[name]

    def dependents(self, names: Iterable[str]) -> set[str]:
        """Return the names of all tasks that need one of these, directly or indirectly."""
        lost = set(names)
        for task in self.ordered:
            if lost.intersection(task.needs):
                lost.add(task.name)
        return lost - set(names)

    def save(self, folder: str | Path) -> None:
        """Write the plan into a run folder, as ``tasks/plan.json``."""
        tasks = _plain(self.tasks)
        document = {"format": _FORMAT, "version": _VERSION, "sha256": _hash_of(tasks)}
        write_json(Path(folder) / FOLDER / _FILE, document | {"tasks": tasks})

    @classmethod
    def load(cls, folder: str | Path, registry: Registry) -> "Plan":
        """Read and check the plan of a run folder, which may come from a stranger.

        Raises
        ------
        CallError
            If there is no plan, it was changed, or a task has an unknown kind or arguments.
        """
        path = Path(folder) / FOLDER / _FILE
        document = _read(path)
        plain = document["tasks"]
        if _hash_of(plain) != document.get("sha256"):
            raise CallError(f"{path} was changed or cut off; run the experiment again.")
        try:
            tasks = _TASKS.validate_python(plain)
            fault = "" if _plain(tasks) == plain else "it has other entries than a plan has"
        except ValidationError as error:
            fault = first_fault(error)
        if fault:
            raise CallError(f"{path} is damaged ({fault}); run the experiment again.")
        return cls(tasks, registry)


_TASKS = TypeAdapter(tuple[Task, ...])


def _plain(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """Return tasks as JSON objects."""
    return [vars(task) | {"needs": list(task.needs)} for task in tasks]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hash_of(tasks: Any) -> str:
    return _hash(json.dumps(tasks, sort_keys=True))


def _read(path: Path) -> dict[str, Any]:
    """Read the document of a plan, of bounded size."""
    try:
        with path.open("rb") as opened:
            text = opened.read(_MOST_TEXT + 1)
    except OSError as error:
        raise CallError(
            f"There is no plan: {path} cannot be read ({error.strerror}); run the experiment."
        ) from error
    try:
        document = json.loads(text) if len(text) <= _MOST_TEXT else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("tasks"), list):
        raise CallError(f"{path} is not a plan; run the experiment again.")
    if (document.get("format"), document.get("version")) != (_FORMAT, _VERSION):
        raise CallError(f"{path} is a plan of another version; run the experiment again.")
    return document


_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def select_tasks(plan: Plan, *texts: str) -> list[str]:
    """Return the names of the tasks that texts such as ``4-9,12,reduce`` select.

    Numbers count the tasks in the order in which they can be done, from 1.

    Raises
    ------
    CallError
        If the plan has no task with a number or name.

    Examples
    --------
    >>> kinds = Registry("shop:KINDS", {"tidy": TaskKind("shop.work:tidy")})
    >>> plan = Plan(tuple(Task(name, "tidy") for name in "abcd"), kinds)
    >>> select_tasks(plan, "2-3", "d,b")
    ['b', 'c', 'd']
    """
    names: dict[str, None] = {}
    for word in filter(None, map(str.strip, ",".join(texts).split(","))):
        numbers = _RANGE.fullmatch(word)
        if numbers is None:
            names[plan.task(word).name] = None
            continue
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if not 1 <= first <= last <= len(plan.tasks):
            raise CallError(
                f"The plan has {counted(len(plan.tasks), 'task')}, numbered from 1, and not "
                f"{word!r}; hypercover plan lists them."
            )
        names |= dict.fromkeys(task.name for task in plan.ordered[first - 1 : last])
    return list(names)
