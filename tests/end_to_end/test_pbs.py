"""An experiment through a real OpenPBS, where one is installed, and cancelled there."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from private_pbs import USER, missing, private_pbs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pbs():
    """A real OpenPBS; without one this is said, and the stand-in of ``tests/cli`` is left."""
    if said := missing():
        pytest.skip(
            f"NO JOB WAS SENT TO A REAL PBS: {said}; its answers are those of a stand-in"
        )
    # Its daemons trust no folder that others may write to, as those in /tmp.
    with TemporaryDirectory(prefix="pbs-", dir="/var/spool") as home:
        Path(home).chmod(0o755)
        with private_pbs(Path(home)) as started:
            yield started


@pytest.fixture
def sender(desk, pbs, scene):
    """The command as an ordinary user calls it, in a folder of theirs."""
    with TemporaryDirectory(prefix="sent-", dir="/var/tmp") as place:
        folder = Path(place)
        # A user reads nothing below the folder of pytest, which is root's.
        copied = shutil.copytree(scene.image.parent, folder / "scene")
        own = SimpleNamespace(
            image=copied / scene.image.name, labels=copied / scene.labels.name
        )
        path = desk.experiment(own, folder, models={"svm": {"kind": "svm"}}, map=False)
        for file in (folder, *folder.rglob("*")):
            shutil.chown(file, USER)

        def call(*words: object) -> str:
            command = os.environ.get("HYPERCOVER_PBS_COMMAND", str(desk.command))
            return pbs.call(command, *words, user=USER)

        call.path, call.folder = path, folder / "run"
        yield call


def test_an_experiment_comes_to_its_end_on_openpbs(sender, pbs):
    words = [
        "--scheduler",
        "pbs-pro",
        "--array-chunk",
        1,
        "--time",
        "10min",
        "--mem",
        "1GiB",
    ]
    sender("submit", sender.path, "-o", sender.folder, *words)
    said = sender("status", sender.folder, "--watch", "--interval", 1)
    assert " done." in said, said
    # As open to others as their sender wants, and none without content.
    printed = list((sender.folder / "jobs").iterdir())
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in printed)
    assert len([path for path in printed if path.stat().st_size == 0]) <= 1


def test_a_chain_that_is_cancelled_on_openpbs_is_gone(sender, pbs):
    words = [
        "--scheduler",
        "pbs-pro",
        "--array-chunk",
        1,
        "--time",
        "10min",
        "--mem",
        "1GiB",
    ]
    sender("submit", sender.path, "-o", sender.folder, *words)
    assert "Cancelled: " in sender("cancel", sender.folder)
    qstat = subprocess.run(
        [pbs.root / "bin" / "qstat", "-t"],
        env=os.environ | pbs.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert qstat.stdout == ""
