"""What is left of memory under the limits of batch systems and containers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypercover import memory

MIB = 2**20


def group(
    folder: Path, names: tuple[str, str, str], limit: str, used: int, kept: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {kept}\nfile_dirty 0\n")


@pytest.mark.parametrize(
    ("line", "below", "names"),
    [
        ("0::", ".", ("memory.max", "memory.current", "inactive_file")),
        ("4:memory:", "memory", memory._FIRST_VERSION),
    ],
)
def test_the_tightest_group_counts_without_what_files_keep(tmp_path, line, below, names):
    root = tmp_path / "fs"
    (tmp_path / "own").write_text(f"9:name=systemd:/\n{line}/job_7/step_0\n")
    group(root / below, names, "max", 0, 0)
    group(root / below / "job_7", names, str(900 * MIB), 500 * MIB, 100 * MIB)
    group(root / below / "job_7" / "step_0", names, str(1000 * MIB), 400 * MIB, 0)
    assert memory._left_by_limits(tmp_path / "own", root) == [600 * MIB, 500 * MIB]


def test_no_limit_is_made_up(tmp_path):
    (tmp_path / "own").write_text("garbage\n0::/job\n4:memory\n")
    group(tmp_path / "job", ("memory.max", "memory.current", "x"), "many", 1, 1)
    assert memory._left_by_limits(tmp_path / "own", tmp_path) == []
    assert memory._left_by_limits(tmp_path / "none", tmp_path) == []


def test_more_held_than_allowed_leaves_nothing(tmp_path):
    (tmp_path / "own").write_text("0::/\n")
    group(tmp_path, ("memory.max", "memory.current", "x"), str(MIB), 2 * MIB, 0)
    assert memory._left_by_limits(tmp_path / "own", tmp_path) == [0]


@pytest.fixture
def limited():
    """Give a real control group of 300 MiB, where this machine lets one be made."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        made = root / f"hypercover-test-{os.getpid()}"
        try:
            made.mkdir()
        except OSError:
            continue
        try:
            (made / limit).write_text(str(300 * MIB))
            yield made
            return
        except OSError:
            continue
        finally:
            made.rmdir()
    pytest.skip("no control group with a limit of memory can be made here")


def test_a_process_in_a_real_group_sees_its_limit(limited):
    code = (
        "import os; from pathlib import Path\n"
        f"Path({str(limited / 'cgroup.procs')!r}).write_text(str(os.getpid()))\n"
        "from hypercover.memory import available_bytes; print(available_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert 200 * MIB < int(done.stdout) <= 300 * MIB
