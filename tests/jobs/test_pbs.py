"""Scripts for PBS, parsed back by the grammar of each dialect.

The grammars are those of the manuals of Torque 6 (``qsub``, Requesting
Resources) and of PBS Professional 2021 and OpenPBS 23 (``qsub``), as far as
hypercover uses them: small, and strict.  A script that passes is well formed;
whether a cluster runs it only a cluster can say.
"""

import os
import re
import shutil
import subprocess

import pytest

from hypercover.errors import CallError
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.batch_system import ElementStatus, JobArray, PBSPro, Torque
from hypercover.jobs.executor import TaskState
from hypercover.jobs.plan import Plan
from hypercover.jobs.resources import JobResources
from hypercover.jobs.submission import ArrayBatch, array_script

SIZE = r"[1-9]\d*(b|kb|mb|gb|tb)"
CLOCK = r"\d+:[0-5]\d:[0-5]\d"
WORD = r"[A-Za-z0-9_.@:+-]+"
COMMON = {
    "-N": r"[A-Za-z][A-Za-z0-9_-]{0,14}",
    "-q": WORD,
    "-A": WORD,
    "-j": r"oe|eo|n",
    "-o": r"/\S*",
    "-r": r"y|n",
    "-S": r"/bin/bash",
    "-W": r"umask=0[0-7]{3}",
}
TORQUE = COMMON | {
    "-t": r"\d+-\d+",
    "-l": rf"nodes=[1-9]\d*:ppn=[1-9]\d*(:gpus=[1-9]\d*)?|walltime={CLOCK}|mem={SIZE}",
}
PRO = COMMON | {
    "-J": r"(?P<first>\d+)-(?P<last>\d+)",
    "-l": rf"select=[1-9]\d*:ncpus=[1-9]\d*(:ngpus=[1-9]\d*)?(:mem={SIZE})?|walltime={CLOCK}",
}
PARTS = {"torque": (Torque(), TORQUE), "pro": (PBSPro(), PRO)}
WISHES = [
    {},
    {"time": "90min", "memory": "3GiB", "cpus": 4},
    {"partition": "q1d", "account": "lp_course", "gpus": 2, "time": "3-00:00"},
]


def parsed(text: str, grammar: dict[str, str]) -> list[tuple[str, str]]:
    """Return the directives of a script; fail at the first that the dialect does not know."""
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    found = []
    for line in lines[1:]:
        if not line.startswith("#PBS"):
            break
        mark, option, value = line.split(" ", 2)
        assert mark == "#PBS"
        assert option in grammar, line
        match = re.fullmatch(grammar[option], value)
        assert match, line
        if option == "-J":
            # refused otherwise by qsub
            assert int(match["first"]) < int(match["last"])
        found.append((option, value))
    # PBS stops reading directives at the first command
    rest = "\n".join(lines[1 + len(found) :])
    assert "#PBS" not in rest
    return found


def made(system, folder, *, elements=3, kind="plain", **wishes) -> str:
    array = JobArray(
        "2-train", tuple((f"t{n}",) for n in range(elements)), kind, ("1-scene",)
    )
    plan, resources = Plan((), REGISTRY), JobResources(**wishes)
    batch = ArrayBatch(plan, folder, "hypercover", system.name, resources, (array,), 2)
    return array_script(batch, array, ["/opt/h/bin/hypercover"])


@pytest.mark.parametrize("dialect", PARTS)
@pytest.mark.parametrize("wishes", WISHES)
@pytest.mark.parametrize("elements", [1, 3, 1000])
@pytest.mark.parametrize("kind", ["plain", "gpu", "ranks"])
def test_scripts_are_of_their_dialect(tmp_path, dialect, wishes, elements, kind):
    system, grammar = PARTS[dialect]
    text = made(system, tmp_path, elements=elements, kind=kind, **wishes)
    options = parsed(text, grammar)
    asked = " ".join(value for option, value in options if option == "-l")
    assert ("gpus=2" in asked) == (bool(wishes.get("gpus")) and kind != "plain")
    assert ("walltime=01:30:00" in asked) == (wishes.get("time") == "90min")
    assert ("mem=3072mb" in asked) == ("memory" in wishes)
    ranges = [value for option, value in options if option in ("-t", "-J")]
    assert ranges == ([] if dialect == "pro" and elements == 1 else [f"1-{elements}"])


@pytest.mark.parametrize("dialect", PARTS)
def test_what_needs_no_gpu_never_asks_for_the_queue_of_gpus(tmp_path, dialect):
    system, grammar = PARTS[dialect]
    apart = {
        "partition": "q1d",
        "gpu_partition": "gpus",
        "gpus": 2,
        "gpu_cpus": 8,
        "memory_per_cpu": "1GiB",
    }
    plain = dict(parsed(made(system, tmp_path, **apart), grammar))
    text = made(system, tmp_path, kind="gpu", **apart)
    gpu = dict(parsed(text, grammar))
    assert (plain["-q"], gpu["-q"]) == ("q1d", "gpus")
    # Not every PBS knows memory of a core.
    assert "mem=8192mb" in text
    assert "ppn=8:gpus=2" in text or "ncpus=8:ngpus=2" in text


@pytest.mark.parametrize("dialect", PARTS)
def test_memory_can_be_left_out(tmp_path, dialect):
    system, grammar = PARTS[dialect]
    options = parsed(made(system, tmp_path, memory="none"), grammar)
    assert not [value for option, value in options if option == "-l" and "mem" in value]


def test_neither_dialect_takes_the_other(tmp_path):
    for system, other in ((Torque(), PRO), (PBSPro(), TORQUE)):
        with pytest.raises(AssertionError):
            parsed(made(system, tmp_path), other)


@pytest.mark.parametrize("dialect", PARTS)
def test_the_shell_understands_the_script(tmp_path, dialect):
    for kind in ("plain", "ranks"):
        text = made(PARTS[dialect][0], tmp_path, kind=kind)
        assert ("-S", "/bin/bash") in parsed(text, PARTS[dialect][1])
        done = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("dialect", "variable"), [("torque", "PBS_ARRAYID"), ("pro", "PBS_ARRAY_INDEX")]
)
def test_an_element_does_its_own_line(tmp_path, dialect, variable):
    """The script as a shell runs it, with a command in the place of hypercover."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "2-train.tasks").write_text("a,b\nc\nd\n")
    told = tmp_path / "told"
    stand_in = tmp_path / "stand-in"
    stand_in.write_text(f'#!/bin/bash\necho "$@" >> {told}\nexit 3\n')
    stand_in.chmod(0o755)
    text = made(PARTS[dialect][0], tmp_path).replace("/opt/h/bin/hypercover", str(stand_in))
    done = subprocess.run(
        ["bash"], input=text, text=True, check=False, env=os.environ | {variable: "2"}
    )
    assert done.returncode == 3
    assert told.read_text().startswith(f"work {tmp_path} --tasks c --threads 1")
    assert (tmp_path / "jobs" / "2-train-2.out").read_text().endswith(": c\n")


def test_several_machines_are_refused(tmp_path):
    with pytest.raises(CallError, match=r"on 2 machines .* not under pbs-torque"):
        made(Torque(), tmp_path, kind="ranks", nodes=2)


@pytest.mark.parametrize("name", ["a b", "a'b", "50%", "a:b", 'a"b', "a\nb"])
def test_a_folder_that_no_directive_can_name_is_refused(tmp_path, name):
    for system, _ in PARTS.values():
        with pytest.raises(CallError, match="cannot print into a path with spaces"):
            made(system, tmp_path / name)


QSTAT = {
    # as Torque 6 and OpenPBS 23 print them
    "torque": """Job ID                    Name             User            Time Use S Queue
------------------------- ---------------- --------------- -------- - -----
17[1].head                hc-2-train-1     student         00:00:12 R q1h
17[2].head                hc-2-train-2     student                0 Q q1h
170[2].head               other            student                0 R q1h
18[1].head                hc-3-reduce-1    student                0 H q1h
""",
    "pro": """Job id            Name             User              Time Use S Queue
----------------  ---------------- ----------------  -------- - -----
17[].head         hc-2-train       student                  0 B workq
17[1].head        hc-2-train       student           00:00:12 R workq
17[2].head        hc-2-train       student                  0 Q workq
18.head           hc-3-reduce      student                  0 H workq
""",
}


@pytest.mark.parametrize("dialect", PARTS)
def test_where_jobs_stand_is_read_from_qstat(tmp_path, monkeypatch, dialect):
    program = tmp_path / "qstat"
    program.write_text(f"#!/bin/bash\ncat <<'E'\n{QSTAT[dialect]}E\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    jobs = ["17[].head", "18[].head" if dialect == "torque" else "18.head"]
    assert PARTS[dialect][0].states(jobs) == {
        (jobs[0], 1): ElementStatus(TaskState.RUNNING),
        (jobs[0], 2): ElementStatus(TaskState.WAITING),
        (jobs[1], 1): ElementStatus(TaskState.WAITING),
    }


def dialect_of(qsub: str) -> str:
    """Tell which dialect a real qsub speaks: Slurm's front end is neither."""
    said = subprocess.run([qsub, "--version"], capture_output=True, text=True, check=False)
    words = (said.stdout + said.stderr).lower()
    if "pbs_version" in words:
        return "pro"
    return (
        "torque" if re.search(r"version:? *\d", words) and "slurm" not in words else "slurm"
    )


def test_a_real_qsub_takes_the_script(tmp_path, slurm, monkeypatch):
    """Accepted by whatever qsub is installed; by Slurm's PBS front end is no more than that."""
    qsub = shutil.which("qsub")
    if qsub is None:
        said = (
            "NO SCRIPT WAS SHOWN TO A REAL qsub: none is installed; the scripts for PBS are "
            "held to their grammars alone"
        )
        assert "CI" not in os.environ, said
        pytest.skip(said)
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    system = PARTS["pro" if dialect_of(qsub) == "pro" else "torque"][0]
    script = tmp_path / "job.sh"
    script.write_text(made(system, tmp_path, time="10min"))
    done = subprocess.run([qsub, "-h", script], capture_output=True, text=True, check=False)
    # The folder of the test may have root in its name, too.
    if done.returncode and "root" in done.stderr.replace(str(tmp_path), ""):
        said = "NO SCRIPT WAS SHOWN TO A REAL qsub: the one that is installed refuses root"
        assert "CI" not in os.environ, said
        pytest.skip(said)
    assert done.returncode == 0, done.stderr
    number = done.stdout.split()[-1]
    if dialect_of(qsub) == "slurm":
        slurm.call("scancel", re.match(r"\d+", number)[0])
    else:
        system.cancel(number, 3)
