"""Sending to a batch system: what is wrong is one sentence, and nothing is left of it."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from hypercover.cli import plan
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.files import read_checksummed, write_checksummed
from hypercover.jobs import submission
from hypercover.jobs.plan import Plan
from hypercover.jobs.resources import JobResources
from hypercover.jobs.submission import SentArray, Submission

WITHOUT = ["--scheduler", "slurm"]


@pytest.fixture(autouse=True)
def no_site(monkeypatch, tmp_path):
    """No defaults but those of a test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "hypercover" / "site.yaml"


@pytest.fixture
def login_node(slurm, monkeypatch):
    """A machine from which jobs can be sent to a real Slurm."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    return slurm


@pytest.fixture
def no_scheduler(monkeypatch, tmp_path):
    """A machine without any batch system."""
    monkeypatch.setenv("PATH", str(tmp_path))


def test_the_plan_is_printed_with_the_memory_of_each_task(call, fields):
    said = call("plan", fields.experiment, "-o", fields.folder / "run")
    assert said.code == 0
    assert "train-main-0-svm" in said.out
    assert "Memory is estimated." in said.out
    assert not (fields.folder / "run").exists()


def test_tasks_are_done_by_hand_from_the_plan(call, fields):
    folder = fields.folder / "run"
    assert call("plan", fields.experiment, "-o", folder, "--ready").code == 0
    assert call("work", folder, "--task", 1).out == "scene: done\n"
    again = call("work", folder, "--tasks", "1,split-main-0")
    assert again.out == "scene: done before\nsplit-main-0: done\n"
    early = call("work", folder, "--task", "reduce")
    assert early.code == 1
    assert "reduce waits for train-main-0-svm, which has no result yet" in early.err
    assert "done │" in call("plan", fields.experiment, "-o", folder).out
    status = call("status", folder)
    assert "9 tasks: 2 done, 7 open." in status.out
    assert f"hypercover work {folder}" in status.out


def test_a_dry_run_writes_scripts_without_any_scheduler(call, fields, no_scheduler):
    folder = fields.folder / "run"
    for dialect, mark in (
        ("slurm", "#SBATCH --array=1-2"),
        ("pbs-torque", "#PBS -t 1-2"),
        ("pbs-pro", "#PBS -J 1-2"),
    ):
        said = call(
            "submit",
            fields.experiment,
            "-o",
            folder,
            "--scheduler",
            dialect,
            "--dry-run",
            "--array-chunk",
            1,
            "--time",
            "2h",
        )
        assert said.code == 0, said.err
        assert "1-scene: not submitted, 2 tasks in 2 elements" in said.out
        assert mark in (folder / "jobs" / "1-scene.sh").read_text()
    assert not (folder / "jobs" / "submission.json").exists()
    Plan.load(folder, REGISTRY)


def test_without_a_scheduler_nothing_is_sent(call, fields, no_scheduler):
    said = call("submit", fields.experiment, "-o", fields.folder / "run", *WITHOUT)
    assert "sbatch is not on the PATH" in said.sentence
    assert not (fields.folder / "run" / "jobs" / "submission.json").exists()


def sent_before(call, fields) -> Path:
    """Make a folder from which a job was sent; return what says so."""
    call("plan", fields.experiment, "-o", fields.folder / "run", "--ready")
    path = fields.folder / "run" / "jobs" / "submission.json"
    path.parent.mkdir()
    array = {"name": "1-scene", "job": "999999", "elements": [["scene", "view"]]}
    document = {"scheduler": "slurm", "wanted": {"account": "x"}, "arrays": [array]}
    path.write_text(json.dumps(document))
    return path


def test_where_nobody_can_be_asked_jobs_that_were_sent_are_not_forgotten(
    call, fields, no_scheduler
):
    """Else they would run on, and neither status nor cancel would know of them."""
    sent, folder = sent_before(call, fields), fields.folder / "run"
    (folder / "jobs" / "1-scene.tasks").write_text("scene,view\n")
    for words in (
        ["resume", folder],
        ["submit", fields.experiment, "-o", folder, *WITHOUT, "--dry-run"],
        ["run", fields.experiment, "-o", folder],
        ["plan", fields.experiment, "-o", folder, "--ready"],
    ):
        said = call(*words).sentence
        assert "it is unknown whether they still run (squeue is not on the PATH" in said
        assert f"remove {sent} if they ended" in said
    unsent = call("submit", fields.experiment, "-o", folder, *WITHOUT).sentence
    assert "sbatch is not on the PATH" in unsent
    assert "squeue is not on the PATH" in call("cancel", folder).sentence
    assert sent.exists()
    assert (folder / "jobs" / "1-scene.tasks").read_text() == "scene,view\n"


def test_what_was_sent_and_is_done_forbids_nothing(call, fields, no_scheduler):
    sent_before(call, fields)
    folder = fields.folder / "run"
    assert call("work", folder, "--tasks", "scene,split-main-0,view").code == 0
    assert call("plan", fields.experiment, "-o", folder, "--ready").code == 0


def test_what_is_refused_leaves_what_was_sent_before(call, fields, login_node):
    """Else the next resume knew nothing of account, modules and partition."""
    sent, folder = sent_before(call, fields), fields.folder / "run"
    assert "nvalid partition" in call("resume", folder, "--partition", "nowhere").sentence
    assert json.loads(sent.read_text())["wanted"]["account"] == "x"


def test_a_scheduler_must_be_named(call, fields, no_site):
    said = call("submit", fields.experiment)
    assert "A batch system must be named, got none" in said.sentence
    assert str(no_site) in said.sentence
    assert "got lsf" in call("submit", fields.experiment, "--scheduler", "lsf").sentence


def test_a_time_limit_shorter_than_a_task_is_refused(call, fields):
    folder = fields.folder / "run"
    twice = ["--set", "repeats=2"]
    call("plan", fields.experiment, "-o", folder, "--ready", *twice)
    call("work", folder, "--task", "split-main-0")
    # as if the first of two splits had taken an hour and a half
    result = folder / "tasks" / "split-main-0.json"
    write_checksummed(result, read_checksummed(result.read_bytes()) | {"seconds": 5400.0})
    words = ["submit", fields.experiment, "-o", folder, *WITHOUT, "--dry-run", *twice]
    said = call(*words, "--time", "1h")
    assert (
        "split-main-1 is expected to take 01:30:00, more than the time limit of 01:00:00"
        in said.sentence
    )
    assert call(*words, "--time", "2h").code == 0


def test_a_measured_time_sets_the_time_limit(call, fields):
    """With a margin, and whatever the number of cores."""
    folder = fields.folder / "run"
    call("plan", fields.experiment, "-o", folder, "--ready", "--set", "repeats=2")
    call("work", folder, "--tasks", "split-main-0,train-main-0-svm")
    result = folder / "tasks" / "train-main-0-svm.json"
    write_checksummed(result, read_checksummed(result.read_bytes()) | {"seconds": 5400.0})
    said = call(
        "submit",
        fields.experiment,
        "-o",
        folder,
        *WITHOUT,
        "--dry-run",
        "--set",
        "repeats=2",
        "--cpus",
        10,
        "--array-chunk",
        1,
    )
    assert "Each element is given 10 cores, 2.0 GiB, 04:30:00." in said.out


def test_each_process_of_a_network_is_given_its_memory(call, fields):
    models = ["--set", "models={cnn: {kind: cnn, window: 3, epochs: 2}}"]
    words = [
        "submit",
        fields.experiment,
        "-o",
        fields.folder / "run",
        *WITHOUT,
        "--dry-run",
    ]
    assert "1 core, 2.0 GiB" in call(*words, *models).out
    # 0.6 GiB each, and half as much again
    assert "1 core, 8.0 GiB" in call(*words, *models, "--processes", 8).out


def test_networks_alone_go_to_the_partition_of_gpus(call, fields):
    folder = fields.folder / "run"
    words = [
        "submit",
        fields.experiment,
        "-o",
        folder,
        *WITHOUT,
        "--dry-run",
        "--gpus",
        1,
        "--partition",
        "main",
        "--set",
        "models={cnn: {kind: cnn, window: 3, epochs: 2}}",
    ]
    said = call(*words, "--gpu-partition", "gpus", "--gpu-cpus", 6, "--gpu-mem", "9GiB")
    assert "What has GPUs is given 1 GPU, 6 cores, 9.0 GiB, 01:00:00, in gpus." in said.out
    assert "The rest is given 1 core, 2.0 GiB, 01:00:00." in said.out
    scripts = {path: path.read_text() for path in (folder / "jobs").glob("*.sh")}
    with_gpus = [text for text in scripts.values() if "--gres=gpu:1" in text]
    assert 0 < len(with_gpus) < len(scripts)
    for text in scripts.values():
        assert ("--partition=gpus" in text) == (text in with_gpus)
    assert "Note: what needs no GPU goes to main too" in call(*words).out


def test_memory_of_a_core_takes_the_place_of_that_of_a_machine(call, fields, no_site):
    no_site.parent.mkdir(parents=True)
    no_site.write_text("memory: 3GiB\n")
    folder = fields.folder / "run"
    words = ["submit", fields.experiment, "-o", folder, *WITHOUT, "--dry-run"]
    assert "3.0 GiB" in call(*words).out
    assert "1 core, 1.0 GiB a core" in call(*words, "--mem-per-cpu", "1GiB").out
    assert call(*words, "--mem", "none").code == 0
    assert "--mem" not in next((folder / "jobs").glob("*.sh")).read_text()


def test_what_a_batch_system_cannot_be_asked_leaves_nothing(call, fields):
    folder = fields.folder / "a run"
    words = [
        "submit",
        fields.experiment,
        "-o",
        folder,
        "--dry-run",
        "--scheduler",
        "pbs-pro",
    ]
    assert "into a path with spaces" in call(*words).sentence
    assert not folder.exists()


def test_a_time_that_is_none_is_refused(call, fields):
    said = call("submit", fields.experiment, *WITHOUT, "--time", "soon")
    assert (
        "time must be a text such as 30min, 2h or '01:30:00', not 'soon'" in said.sentence
    )
    assert "cpus" in call("submit", fields.experiment, *WITHOUT, "--cpus", 5000).sentence


def test_an_unknown_partition_is_refused_and_nothing_left(call, fields, login_node):
    folder = fields.folder / "run"
    said = call(
        "submit", fields.experiment, "-o", folder, *WITHOUT, "--partition", "nowhere"
    )
    assert "sbatch refuses" in said.sentence
    assert "nvalid partition" in said.sentence
    assert not (folder / "jobs" / "submission.json").exists()
    assert "Nothing was submitted" in call("resume", folder).sentence


def test_one_folder_takes_one_submission_at_a_time(call, fields, login_node):
    folder = fields.folder / "run"
    held = ["--directive=--begin=now+1hour"]
    sent = call("submit", fields.experiment, "-o", folder, *WITHOUT, *held)
    assert sent.code == 0, sent.err
    try:
        job = json.loads((folder / "jobs" / "submission.json").read_text())["arrays"][0][
            "job"
        ]
        for words in (
            ["submit", fields.experiment, "-o", folder, *WITHOUT],
            ["run", fields.experiment, "-o", folder],
            ["resume", folder],
        ):
            assert f"The jobs {job} are still active in" in call(*words).sentence
        # Slurm gives a reason once its scheduler has looked at the job.
        login_node.wait(
            lambda: "1-scene waits: BeginTime" in call("status", folder).out, 60
        )
        # an experiment that is changed after it was submitted
        path = folder / "experiment.yaml"
        document = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(document | {"seed": 5}))
        assert "was changed since its plan was made" in call("work", folder).sentence
    finally:
        assert "Cancelled" in call("cancel", folder).out
    login_node.wait(lambda: login_node.states()[f"{job}_1"] == "CANCELLED", 30)
    assert "No job of this run waits or runs" in call("cancel", folder).out


_ENDS = {
    # state, what squeue gives as reason, the line of sacct, what is shown beside the state
    "scene": ("TIMEOUT", "TimeLimit", "TIMEOUT|0:0", "TIMEOUT, TimeLimit"),
    "split-main-0": (
        "OUT_OF_MEMORY",
        "OutOfMemory",
        "OUT_OF_MEMORY|0:125",
        "OUT_OF_MEMORY",
    ),
    "split-main-1": ("NODE_FAIL", "NodeDown", "NODE_FAIL|1:0", "NODE_FAIL, NodeDown"),
    "split-main-2": ("CANCELLED", "Resources", "CANCELLED by 1000|0:15", "CANCELLED"),
    "split-main-3": ("FAILED", "NonZeroExitCode", "FAILED|3:0", "FAILED"),
}
"""How elements ended, in the words that Slurm 22.05 was heard to use, or, of memory and
``sacct``, that its manual gives: a private Slurm neither limits memory nor has accounts."""


@pytest.mark.parametrize("remembered", [True, False], ids=["squeue", "sacct"])
def test_how_slurm_ended_a_job_is_shown(call, fields, tmp_path, monkeypatch, remembered):
    """Soon after, squeue knows; later only sacct does, where there are accounts."""
    folder = fields.folder / "run"
    words = ["--set", "repeats=4", "--ready"]
    assert call("plan", fields.experiment, "-o", folder, *words).code == 0
    array = SentArray(name="1-scene", job="7", elements=tuple((name,) for name in _ENDS))
    Submission(scheduler="slurm", resources=JobResources(), arrays=(array,)).save(folder)
    squeue = [f"7|{n}|{word}|{why}" for n, (word, why, *_) in enumerate(_ENDS.values(), 1)]
    sacct = [f"7_{n}|{line}" for n, (_, _, line, _) in enumerate(_ENDS.values(), 1)]
    for name, lines in (
        ("squeue", squeue if remembered else []),
        ("sacct", sacct),
        *((name, []) for name in ("sbatch", "scancel", "scontrol")),
    ):
        program = tmp_path / name
        program.write_text("\n".join(["#!/bin/bash", "cat <<'E'", *lines, "E\n"]))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for number in range(1, 1 + len(_ENDS)):
        told = (
            f"date on n1: x\nslurmstepd: error: end of {number}\nTold to end (SIGTERM).\n"
        )
        (folder / "jobs" / f"1-scene-{number}.out").write_text(told)
    lines = call("status", folder).out.splitlines()
    for number, (name, (word, _, _, shown)) in enumerate(_ENDS.items(), 1):
        (line,) = [line for line in lines if line.startswith(f"{name} gone: its job ")]
        assert shown in line if remembered else word in line
        assert line.count(word) == 1
        assert line.endswith(f"; its last words: slurmstepd: error: end of {number}")
    assert sum("exit code" in line for line in lines) == 2
    assert sum("exit code 3; its last words" in line for line in lines) == 1
    assert not any("125" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "says", "last"),
    [
        ("TIMEOUT", "TIMEOUT, TimeLimit", "DUE TO TIME LIMIT"),
        ("CANCELLED", "its job was cancelled (CANCELLED)", "*** JOB "),
        ("NODE_FAIL", "NODE_FAIL, NodeDown", "DUE TO NODE FAILURE"),
        ("FAILED", "FAILED, NonZeroExitCode", "out of luck"),
    ],
)
def test_how_a_real_slurm_ended_a_job_is_shown(
    call, fields, login_node, tmp_path, monkeypatch, word, says, last
):
    body = "echo 'out of luck'; exit 3" if word == "FAILED" else "trap '' TERM; sleep 300"
    program = tmp_path / "stand-in"
    program.write_text(f"#!/bin/bash\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(submission, "_command", lambda: [str(program)])
    folder = fields.folder / "run"
    # A node that fails would have its jobs sent back.
    words = ["--mem", "50MB", "--time", "1min", "--directive=--no-requeue"]
    assert call("submit", fields.experiment, "-o", folder, *WITHOUT, *words).code == 0
    job = Submission.load(folder).arrays[0].job

    def state():
        return login_node.states()[f"{job}_1"]

    try:
        if word in ("CANCELLED", "NODE_FAIL"):
            login_node.wait(lambda: state() == "RUNNING")
        if word == "CANCELLED":
            login_node.call("scancel", job)
        if word == "NODE_FAIL":
            node = login_node.call("squeue", "-h", "-j", job, "-o", "%N").split()[0]
            down = [f"NodeName={node}", "State=DOWN", "Reason=tried"]
            login_node.call("scontrol", "update", *down)
        login_node.wait(lambda: state() == word, 180)
        lines = call("status", folder).out.splitlines()
        (line,) = [line for line in lines if line.startswith("scene gone: ")]
        assert says in line
        assert last in line
    finally:
        call("cancel", folder)


def test_a_job_that_was_not_sent_from_the_run_is_left_alone(call, fields, login_node):
    """A submission.json that came from elsewhere may name any job of its reader's."""
    folder = fields.folder / "run"
    held = ["--directive=--begin=now+1hour"]
    assert call("submit", fields.experiment, "-o", folder, *WITHOUT, *held).code == 0
    words = ["--parsable", "--hold", "--job-name=run-1-scene", "-o", "/dev/null", "--wrap"]
    other = login_node.call("sbatch", *words, "sleep 60").strip()
    sent = Submission.load(folder)
    strange = SentArray(name="1-scene", job=other, elements=(("scene",),))
    sent.model_copy(update={"arrays": (*sent.arrays, strange)}).save(folder)
    try:
        said = call("cancel", folder)
        assert said.code == 1
        assert f"Cancelled: {', '.join(sent.jobs)}. " in said.out
        assert f"{other} was not submitted from {folder} and was left alone" in said.err
        left = login_node.call("squeue", "-h", "-t", "running,pending", "-o", "%F").split()
        assert left == [other]
        # alone, it is no more of this run
        assert call("cancel", folder).code == 1
    finally:
        login_node.call("scancel", other)


def test_cancelling_in_a_folder_that_is_no_run_says_so(call, fields):
    """A name that was mistyped must not pass for one whose jobs have ended."""
    said = call("cancel", fields.folder / "rum").sentence
    assert "There is no plan" in said


def test_a_changed_image_is_noticed_by_the_work(call, fields):
    folder = fields.folder / "run"
    call("plan", fields.experiment, "-o", folder, "--ready")
    content = bytearray(fields.image.read_bytes())
    content[-1] ^= 1
    fields.image.write_bytes(bytes(content))
    later = time.time_ns() + 10**9
    os.utime(fields.image, ns=(later, later))
    assert "or a file it reads, was changed" in call("work", folder, "--task", 1).sentence


def test_an_experiment_changed_between_two_tasks_is_noticed(call, fields, monkeypatch):
    """Else an element went on with other settings, and kept that as what was asked for."""
    folder = fields.folder / "run"
    call("plan", fields.experiment, "-o", folder, "--ready")
    path = folder / "experiment.yaml"

    say = plan.say

    def changing(line: str, **options) -> None:
        if line == "scene: done":
            document = yaml.safe_load(path.read_text())
            path.write_text(yaml.safe_dump(document | {"seed": 5}))
        say(line, **options)

    monkeypatch.setattr(plan, "say", changing)
    said = call("work", folder, "--tasks", "scene,split-main-0")
    assert (said.code, said.out) == (2, "scene: done\n")
    assert "was changed since its plan was made" in said.err
    assert not (folder / "tasks" / "split-main-0.json").exists()


def test_a_run_folder_that_cannot_be_written_is_one_sentence(call, fields, small_disk):
    place = small_disk("size=1m,ro")
    said = call("submit", fields.experiment, "-o", place / "run", *WITHOUT, "--dry-run")
    assert "read-only" in said.sentence


def test_work_in_a_folder_that_cannot_be_written_is_one_sentence(call, fields, small_disk):
    place = small_disk("size=2m")
    call("plan", fields.experiment, "-o", place / "run", "--ready")
    (place / "run" / "tasks" / "scene.log").touch()
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    said = call("work", place / "run", "--task", 1)
    assert said.code == 2
    assert said.sentence.endswith(
        "scene.log: the disk is read-only; choose another folder."
    )


def test_the_site_says_what_is_always_asked_for(call, fields, no_site):
    no_site.parent.mkdir(parents=True)
    no_site.write_text(
        "scheduler: pbs-pro\npartition: q1h\naccount: lp_x\ntime: 4h\nmemory: 3GiB\n"
        "modules: [Python/3.11]\n"
    )
    folder = fields.folder / "run"
    said = call("submit", fields.experiment, "-o", folder, "--dry-run", "--time", "90min")
    assert said.code == 0, said.err
    text = next((folder / "jobs").glob("*.sh")).read_text()
    for line in (
        "#PBS -q q1h",
        "#PBS -A lp_x",
        "#PBS -l walltime=01:30:00",
        "#PBS -l select=1:ncpus=1:mem=3072mb",
        "load_module Python/3.11",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scheduler: lsf", "scheduler"),
        ("partition: 'a; rm -rf /'", "partition"),
        ("modules: ['$(reboot)']", "modules"),
        ("time: 2:00:00", "must be a text"),
        ("unknown: 1", "unknown"),
        (
            "mem: 4GiB",
            "mem is an unknown key; known are scheduler, partition, account, time",
        ),
        ("modules: gcc", "modules must be a list, such as [a, b], got 'gcc'"),
        ("cpus: 0", "cpus must be greater than or equal to 1, got '0'"),
        ("account: [a]", "account must be a valid string, got"),
        ("[]", "must be a mapping"),
        ("a: [", "not valid YAML"),
        ("a: &a x\nb: *a", "alias"),
        ("modules: !!set {a}", "at line 1: a value of the YAML type 'set' is not allowed"),
        ("modules: !!omap [a: b]", "the YAML type 'omap'"),
        ("modules: !!pairs [a: b]", "the YAML type 'pairs'"),
        ("cpus: !!int x", "a value cannot be read"),
        ("x" * 70_000, "larger than 64 KiB"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_hostile_site_is_refused(call, fields, no_site, text, says):
    no_site.parent.mkdir(parents=True)
    no_site.write_text(text)
    said = call("submit", fields.experiment, *WITHOUT).sentence
    assert str(no_site) in said
    assert says in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["arrays"][0].update(job="1; rm -rf /"), "job"),
        (lambda d: d["arrays"][0].update(name="../../x"), "name"),
        (lambda d: d.update(scheduler="lsf"), "scheduler"),
        (lambda d: d["wanted"].update(partition="$(x)"), "partition"),
        (lambda d: d.pop("wanted"), "wanted"),
    ],
)
def test_a_hostile_submission_is_refused(call, fields, change, says):
    folder = fields.folder / "run"
    call("plan", fields.experiment, "-o", folder, "--ready")
    document = {
        "scheduler": "slurm",
        "wanted": {},
        "arrays": [{"name": "1-scene", "job": "12", "elements": [["scene"]]}],
    }
    change(document)
    (folder / "jobs").mkdir()
    (folder / "jobs" / "submission.json").write_text(json.dumps(document))
    for verb in ("status", "cancel", "resume", "logs"):
        said = call(verb, folder).sentence
        assert "submission.json is damaged" in said
        assert says in said
