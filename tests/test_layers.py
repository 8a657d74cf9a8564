"""The walls between the rooms: who may import whom, and what stays out of the way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hypercover

ROOT = Path(hypercover.__file__).parent
EVERYBODY = {"compiled", "errors", "files", "memory", "stopping"}
MAY_IMPORT = {
    "compiled": set(),
    "errors": set(),
    "files": {"errors"},
    "memory": {"errors"},
    "stopping": set(),
    "scene": set(),
    "samples": {"scene"},
    "features": {"scene"},
    "classifiers": set(),
    "search": {"classifiers"},
    "evaluation": {"samples", "scene"},
    "maps": {"evaluation", "samples", "scene"},
    "jobs": set(),
    "experiment": {
        "classifiers",
        "evaluation",
        "features",
        "jobs",
        "maps",
        "samples",
        "scene",
        "search",
    },
    "cli": {
        "classifiers",
        "evaluation",
        "experiment",
        "features",
        "jobs",
        "maps",
        "samples",
        "scene",
        "search",
    },
}
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


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names = [node.module or ""]
            if node.module == "hypercover":
                names = [f"hypercover.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("hypercover.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_imports_what_it_may_not(path):
    own = room(path)
    if own == "__init__":
        return
    assert own in MAY_IMPORT, f"{own} is a new room: say in this table what it may import"
    assert imported_rooms(path) <= MAY_IMPORT[own] | EVERYBODY | {own}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_one_noun_needs(path):
    assert len(path.read_text().splitlines()) <= 800


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
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & forbidden, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path
