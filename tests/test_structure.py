"""The structure of the package: its walls, its sizes and its names."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

import hypercover
from hypercover.cli.main import app

ROOT = Path(hypercover.__file__).parent
EVERYBODY = {"compiled", "errors", "files", "memory", "stopping", "types"}
MAY_IMPORT = {
    "compiled": set(),
    "errors": set(),
    "files": {"errors"},
    "memory": {"errors"},
    "stopping": set(),
    "types": set(),
    "scene": set(),
    "splits": {"scene"},
    "windows": {"scene", "splits"},
    "features": {"scene"},
    "classifiers": set(),
    "libsvm": {"classifiers", "scene"},
    "evaluation": {"scene", "splits"},
    "gis": {"evaluation", "scene", "splits"},
    "figures": {"evaluation", "gis", "scene", "splits"},
    "jobs": set(),
    "prediction": {"classifiers", "evaluation", "features", "gis", "jobs", "scene"},
    "report": {"evaluation", "figures", "gis", "prediction", "scene", "splits"},
}
STAGES = set(MAY_IMPORT)
MAY_IMPORT["experiment"] = STAGES
MAY_IMPORT |= {  # files that only list public names
    "datasets": {"scene"},
    "metrics": {"evaluation", "scene"},
    "networks": {"classifiers"},
}
MAY_IMPORT["cli"] = STAGES | {"experiment"}
HEAVY = (
    "torch",
    "rasterio",
    "rioxarray",
    "matplotlib",
    "numba",
    "higra",
    "sklearn",
    "pyogrio",
    "h5py",
    "distributed",
)
FILES = sorted(ROOT.rglob("*.py"))
MODULES = [path for path in FILES if path.name != "__init__.py"]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in FILES}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in NAMES else str(node.module))
    return found & set(NAMES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_imports_what_it_may_not(path):
    own = room(path)
    if own == "__init__":
        return
    assert own in MAY_IMPORT, f"{own} is a new room: say in this table what it may import"
    rooms = {name.split(".")[1] for name in imports(path) if "." in name}
    assert rooms <= MAY_IMPORT[own] | EVERYBODY | {own}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one node (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(arrows):
        if node not in number:
            visit(node)
    return found


def test_circles_are_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert circles(arrows) == [["b", "c"]]


def test_no_files_import_each_other_in_a_circle():
    arrows = {name: imports(path) - {name} for name, path in NAMES.items()}
    assert circles(arrows) == []


def test_no_rooms_import_each_other_in_a_circle():
    arrows = defaultdict(set)
    for path in MODULES:
        arrows[room(path)] |= {
            name.split(".")[1] for name in imports(path) if "." in name
        } - {room(path)}
    assert circles(arrows) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_not_too_long(path):
    assert len(path.read_text().splitlines()) <= 800
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert lines_of(node) <= 60, f"{node.name} has {lines_of(node)} lines"


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return node.end_lineno - body[0].lineno + 1 if body else 0


def test_no_folder_is_crowded():
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in MODULES)
    assert {folder: count for folder, count in counts.items() if count > 24} == {}


def test_no_two_files_share_a_name():
    """A verb of the command may be called as what it does."""
    verbs = set(get_command(app).commands)
    stems = Counter(
        path.stem for path in MODULES if room(path) != "cli" or path.stem not in verbs
    )
    assert [name for name, count in stems.items() if count > 1] == []


def test_no_two_public_classes_share_a_name():
    classes = Counter(
        node.name
        for path in MODULES
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in classes.items() if count > 1] == []


@pytest.mark.parametrize("statement", ["import hypercover", "import hypercover.cli.main"])
def test_the_package_and_its_help_load_nothing_heavy(statement):
    program = f"import sys; {statement}; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(answer.stdout.split())
    assert not loaded & set(HEAVY)


def test_nothing_unpickles_or_evaluates_what_it_reads():
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & forbidden, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path


def test_the_formatter_lays_out_every_line():
    for path in FILES:
        assert not re.search(r"#\s*fmt:|#\s*yapf:", path.read_text()), path
