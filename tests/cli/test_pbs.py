"""Sending to PBS: what is deleted is gone, what is sent runs, what died says why.

On a stand-in for both dialects, which gives recorded answers; see
``tests/support/pbs_double.py``.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pbs_double import PBSDouble, pbs_double

from hypercover.jobs import submission
from hypercover.jobs.submission import SentArray, Submission

NAMES = {"torque": "pbs-torque", "pro": "pbs-pro"}
either = pytest.mark.parametrize("pbs", ["torque"], indirect=True)
"""Of what is the same in both dialects."""


@pytest.fixture(params=NAMES)
def pbs(request, monkeypatch) -> Iterator[PBSDouble]:
    """A PBS of either dialect on the PATH, and nobody's defaults."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    for name, value in {"_POLL": 0.05, "_CHECKS": 1, "_TRIES": 2}.items():
        monkeypatch.setattr(submission, name, value)
    with (
        TemporaryDirectory(prefix="pbs-") as home,
        pbs_double(Path(home) / "d", request.param) as double,
    ):
        monkeypatch.setenv("PATH", double.path)
        yield double


@pytest.fixture
def work(monkeypatch, tmp_path) -> Callable[[str], None]:
    """Have the elements do something short in the place of ``hypercover work``."""

    def doing(body: str) -> None:
        program = tmp_path / "stand-in"
        program.write_text(f"#!/bin/bash\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setattr(submission, "_command", lambda: [str(program)])

    return doing


@pytest.fixture
def submit(call, fields, pbs):
    """Send the experiment, each task an element of its own."""
    folder = fields.folder / "run"

    def sent(*words: object):
        known = ["--scheduler", NAMES[pbs.dialect], "--array-chunk", 1]
        return call("submit", fields.experiment, "-o", folder, *known, *words)

    sent.folder = folder
    return sent


def elements_of(folder: Path) -> list[str]:
    """Name the elements of all arrays that were sent, as PBS calls them."""
    sent = json.loads((folder / "jobs" / "submission.json").read_text())["arrays"]
    return [
        array["job"].replace("[]", f"[{number}]")
        for array in sent
        for number in range(1, 1 + len(array["elements"]))
    ]


def test_jobs_that_are_cancelled_are_gone(call, pbs, submit, work):
    """Torque says so of what waits and runs it; OpenPBS no longer knows what it took along."""
    work("sleep 60")
    assert submit().code == 0
    pbs.wait(lambda: len(pbs.begun) == 2)
    begun = list(pbs.begun)
    assert len(pbs.left()) >= 4
    said = call("cancel", submit.folder)
    assert (said.code, pbs.left()) == (0, []), said
    time.sleep(0.3)
    assert pbs.begun == begun
    status = call("status", submit.folder).out
    assert re.search(r"\d+ tasks: \d+ held up, 2 gone\.", status)
    assert "scene gone: its job ended without a result; it was cancelled" in status


def test_a_job_that_was_not_sent_from_the_run_is_left_alone(call, pbs, submit, work):
    work("sleep 60")
    assert submit().code == 0
    script = pbs.home / "other.sh"
    script.write_text(f"#!/bin/bash\n#PBS -N run-1-scene\n#PBS -o {pbs.home}/\nsleep 60\n")
    _, other, _ = pbs.answer(["qsub", str(script)])
    sent = Submission.load(submit.folder)
    strange = SentArray(name="1-scene", job=other.strip(), elements=(("scene",),))
    sent.model_copy(update={"arrays": (*sent.arrays, strange)}).save(submit.folder)
    said = call("cancel", submit.folder)
    assert said.code == 1
    assert (
        f"{other.strip()} was not submitted from {submit.folder} and was left" in said.err
    )
    assert pbs.left() == [other.strip()]


@either
def test_what_stays_after_cancelling_is_named(call, pbs, submit, work, monkeypatch):
    monkeypatch.setattr(submission, "_CANCEL_TIMEOUT", 0.2)
    monkeypatch.setattr(submission, "_REPEAT", 0.1)
    work("sleep 60")
    assert submit().code == 0
    pbs.stubborn = True
    said = call("cancel", submit.folder)
    assert (said.code, said.out) == (1, "")
    assert ", ".join(pbs.left()) + " still wait or run after being cancelled" in said.err
    sent = json.loads((submit.folder / "jobs" / "submission.json").read_text())
    assert [array["job"] for array in sent["arrays"]] == pbs.left()
    assert not sent["cancelled"]


def test_a_slow_server_loses_nothing(pbs, submit, work):
    """The first array would have ended before the second is sent."""
    work("exit 0")
    pbs.slow = 0.3
    assert submit().code == 0
    pbs.wait(lambda: not pbs.left())
    assert sorted(pbs.begun) == sorted(elements_of(submit.folder))
    assert [words[0] for words in pbs.calls].count("qrls") == 1


@either
def test_what_was_sent_before_a_refusal_is_taken_back(pbs, submit, work):
    work("sleep 60")
    pbs.refused = lambda script: script.name.startswith("3-")
    said = submit().sentence
    assert "qsub refuses (qsub: would exceed the limit of jobs of a user)" in said
    assert "3-reduce has 2 elements, and a larger --array-chunk makes fewer" in said
    assert (pbs.left(), pbs.begun) == ([], [])
    assert not (submit.folder / "jobs" / "submission.json").exists()


@either
def test_what_cannot_be_taken_back_is_named_and_kept(call, pbs, submit, work, monkeypatch):
    monkeypatch.setattr(submission, "_CANCEL_TIMEOUT", 0.2)
    monkeypatch.setattr(submission, "_REPEAT", 0.1)
    work("sleep 60")
    pbs.refused = lambda script: script.name.startswith("2-")
    pbs.stubborn = True
    said = submit()
    assert said.code == 1
    assert "of the submitted jobs, 1[].head still waits or runs" in said.err
    pbs.stubborn = False
    assert "Cancelled: 1[].head" in call("cancel", submit.folder).out


_DEATHS = {
    "scene": (
        "sleep 60",
        "its last words: =>> PBS: job killed: walltime 61 exceeded limit 60",
    ),
    "split-main-0": ("kill -KILL $$", "Killed"),
    "split-main-1": (
        "exec /nowhere/hypercover",
        "/nowhere/hypercover: No such file or directory",
    ),
    "split-main-2": ("echo 'out of luck' >&2; exit 3", "its last words: out of luck"),
}


def test_the_reason_of_a_death_is_shown(call, pbs, submit, work):
    cases = " ".join(f"*' {task} '*) {body} ;;" for task, (body, _) in _DEATHS.items())
    work(f'case " $* " in {cases} esac')
    pbs.minute = 1.0
    assert submit("--time", "1min", "--set", "repeats=3").code == 0
    pbs.wait(lambda: not pbs.left())
    status = call("status", submit.folder).out
    for task, (_, says) in _DEATHS.items():
        (line,) = [line for line in status.splitlines() if line.startswith(f"{task} gone:")]
        assert says in line


@either
def test_a_module_that_cannot_be_loaded_ends_the_job(call, pbs, submit, work):
    work(f"touch {pbs.home}/worked")
    assert submit("--module", "Nope").code == 0
    pbs.wait(lambda: not pbs.left())
    assert "the module Nope cannot be loaded" in call("status", submit.folder).out
    assert not (pbs.home / "worked").exists()


def test_why_a_job_waits_is_shown(call, pbs, submit):
    if pbs.dialect == "torque":
        pytest.skip("Torque leaves the reason to another scheduler")
    assert submit("--cpus", 64).code == 0
    said = "1-scene waits: Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 2 T: 2)"
    assert said in call("status", submit.folder).out
    assert call("cancel", submit.folder).code == 0


def test_files_are_as_open_as_their_sender_wants(pbs, submit, work):
    """PBS runs jobs so that nobody else can read what they write."""
    work(f"echo result > {pbs.home}/result-$RANDOM; kill -KILL $PPID")
    before = os.umask(mask := 0o027)
    try:
        assert submit().code == 0
    finally:
        os.umask(before)
    pbs.wait(lambda: not pbs.left())
    jobs = submit.folder / "jobs"
    printed = [*jobs.glob("*.OU"), *jobs.glob("*.o[0-9]*")]
    files = [*pbs.home.glob("result-*"), *jobs.glob("*.out"), *printed]
    assert printed
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~mask}


def test_no_empty_file_is_left_of_an_element(call, pbs, submit, work, monkeypatch):
    monkeypatch.setattr(submission, "_SETTLED", 0.0)
    work("exit 0")
    assert submit().code == 0
    pbs.wait(lambda: not pbs.left())
    jobs = submit.folder / "jobs"
    # The last element removes those of all others.
    assert len([path for path in jobs.iterdir() if path.stat().st_size == 0]) <= 1
    call("status", submit.folder)
    assert [path.name for path in jobs.iterdir() if path.stat().st_size == 0] == []
    assert len(list(jobs.glob("*.out"))) == len(elements_of(submit.folder))


def test_arrays_are_no_larger_than_the_server_takes(pbs, submit, work):
    work("exit 0")
    pbs.most = 2
    said = submit("--set", "repeats=3")
    assert said.code == 0, said.err
    pbs.wait(lambda: not pbs.left())
    sent = json.loads((submit.folder / "jobs" / "submission.json").read_text())["arrays"]
    assert max(len(array["elements"]) for array in sent) == 2
    assert len({array["name"].partition("-")[2] for array in sent}) < len(sent)
    assert sorted(pbs.begun) == sorted(elements_of(submit.folder))


@pytest.mark.slow
def test_an_experiment_comes_out_on_pbs(call, fields, pbs):
    """With what hypercover really does, in one job."""
    folder = fields.folder / "run"
    words = ["--scheduler", NAMES[pbs.dialect], "--time", "10min"]
    assert call("submit", fields.experiment, "-o", folder, *words).code == 0
    pbs.wait(lambda: not pbs.left(), 120)
    assert re.search(r"(\d+) tasks: \1 done\.", call("status", folder).out)
    assert re.search(r"All \d+ tasks are done", call("resume", folder).out)
