"""Scripts for Slurm: what they ask for, and what a shell makes of them."""

import os
import re
import subprocess

import pytest

from hypercover.errors import CallError
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.batch_system import ElementStatus, JobArray, Slurm, parse_job_id
from hypercover.jobs.dask_executor import DaskExecutor
from hypercover.jobs.executor import TaskState
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.resources import JobResources
from hypercover.jobs.runner import run_plan
from hypercover.jobs.submission import ArrayBatch, array_script, task_list


def made(folder, *, kind="plain", processes=1, title="run", **wishes) -> str:
    array = JobArray("2-train", (("a", "b"), ("c",)), kind, ("1-scene",))
    resources = JobResources(**wishes)
    plan = Plan((), REGISTRY)
    batch = ArrayBatch(plan, folder, title, "slurm", resources, (array,), processes)
    return array_script(batch, array, ["/opt/h/bin/hypercover"])


def test_what_is_asked_for_is_written(tmp_path):
    text = made(
        tmp_path,
        kind="gpu",
        partition="gpu",
        account="x",
        time="2h",
        gpus=2,
        cpus=4,
        memory="3GiB",
        modules=["cuda/12"],
        directives=["--constraint=k80"],
    )
    lines = text.splitlines()
    for asked in (
        "--array=1-2",
        "--partition=gpu",
        "--account=x",
        "--time=02:00:00",
        "--gres=gpu:2",
        "--cpus-per-task=4",
        "--mem=3072M",
        "--requeue",
        "--signal=B:USR1@120",
        "--constraint=k80",
    ):
        assert f"#SBATCH {asked}" in lines
    assert "load_module cuda/12" in lines
    assert "--gres" not in made(tmp_path, gpus=2)


def test_what_needs_no_gpu_never_asks_for_the_partition_of_gpus(tmp_path):
    apart = {
        "partition": "main",
        "gpu_partition": "gpus",
        "gpus": 2,
        "cpus": 2,
        "gpu_cpus": 8,
        "memory": "1GiB",
        "gpu_memory": "3GiB",
    }
    plain, gpu = made(tmp_path, **apart), made(tmp_path, kind="gpu", **apart)
    for line in ("--partition=main", "--cpus-per-task=2", "--mem=1024M"):
        assert f"#SBATCH {line}\n" in plain
    for line in ("--partition=gpus", "--cpus-per-task=8", "--mem=3072M", "--gres=gpu:2"):
        assert f"#SBATCH {line}\n" in gpu
    assert "gpus" not in plain.replace(str(tmp_path), "")
    assert "=main" not in gpu
    assert "--threads 8" in gpu
    # The default of the site is not the partition of GPUs either.
    assert "--partition" not in made(tmp_path, gpu_partition="gpus", gpus=2)


def test_memory_is_asked_for_as_a_site_wants(tmp_path):
    assert "--mem" not in made(tmp_path, memory="none")
    shared = made(tmp_path, memory_per_cpu="2GiB", cpus=4)
    assert "#SBATCH --mem-per-cpu=2048M\n" in shared
    assert "--mem=" not in shared


def test_a_job_is_called_by_its_run_and_stage(tmp_path):
    assert "#SBATCH --job-name=fields-2-train\n" in made(tmp_path, title="fields")


@pytest.mark.parametrize(
    ("module", "loads"),
    [
        ("return 1", False),
        # as version 3.2 fails
        ("echo ERROR:105 >&2; return 0", False),
        ("LOADEDMODULES=$LOADEDMODULES:$2/12.1", True),
        ("LOADEDMODULES=$LOADEDMODULES:other", True),
    ],
)
def test_work_begins_only_with_its_modules(tmp_path, module, loads):
    text = made(tmp_path, modules=["cuda"]).replace(
        "#!/bin/bash", f"#!/bin/bash\nLOADEDMODULES=gcc\nmodule() {{ {module}; }}"
    )
    (tmp_path / "told").touch()
    code, calls = run(tmp_path, text, hypercover="exit 0")
    assert (code, bool(calls)) == ((0, True) if loads else (1, False))


def test_the_tasks_of_an_element_stand_in_its_line():
    array = JobArray("2-train", (("a", "b"), ("c",)), "plain", ())
    assert task_list(array) == "a,b\nc\n"


@pytest.mark.parametrize("kind", ["plain", "ranks"])
def test_the_shell_understands_the_script(tmp_path, kind):
    text = made(tmp_path / "a b 'c", kind=kind, nodes=2)
    done = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["a b", "50%j", 'it\'s "so" #1', "plain"])
def test_slurm_prints_into_a_folder_of_any_name(slurm, tmp_path, monkeypatch, name):
    for key, value in slurm.environment.items():
        monkeypatch.setenv(key, value)
    place = tmp_path / name / "jobs"
    place.mkdir(parents=True)
    (place / "2-train.tasks").write_text("a,b\n")
    script = place / "2-train.sh"
    script.write_text(made(tmp_path / name, memory="50MB"))
    job = Slurm().submit(script, [])
    slurm.wait(lambda: slurm.states()[f"{job}_1"] == "FAILED", 30)
    assert (place / "2-train-1.out").read_text().splitlines()[0].endswith(": a,b")


def test_a_folder_slurm_cannot_print_into_is_refused(tmp_path):
    for name in ("a\\b", "a\nb"):
        with pytest.raises(
            CallError, match="Slurm cannot print into a path with backslashes"
        ):
            made(tmp_path / name)


def run(tmp_path, text, **stand_ins):
    """Run a script with stand-ins for the programs it calls; return code and calls."""
    told = tmp_path / "told"
    for name, body in stand_ins.items():
        program = tmp_path / name
        program.write_text(f'#!/bin/bash\necho "{name} $*" >> {told}\n{body}\n')
        program.chmod(0o755)
    text = text.replace("/opt/h/bin/hypercover", str(tmp_path / "hypercover"))
    variables = {
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_JOB_ID": "8",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "2-train.tasks").write_text("a,b\nc\n")
    script = tmp_path / "job.sh"
    script.write_text(text)
    done = subprocess.run(["bash", script], env=os.environ | variables, check=False)
    return done.returncode, told.read_text().splitlines()


def test_work_that_stopped_before_the_limit_is_sent_back(tmp_path):
    warned = 'trap "exit 75" TERM; kill -USR1 $PPID; sleep 20 & wait'
    code, calls = run(
        tmp_path, made(tmp_path, time="1h"), hypercover=warned, scontrol="", sleep=""
    )
    assert code == 75
    assert "scontrol requeue 7_2" in calls
    assert any(re.match(r"hypercover work .* --tasks c ", call) for call in calls)


def test_work_that_was_told_to_end_is_not_sent_back(tmp_path):
    """Else a cancelled job would send itself back."""
    ended = 'trap "exit 75" TERM; kill -TERM $PPID; sleep 20 & wait'
    code, calls = run(tmp_path, made(tmp_path, time="1h"), hypercover=ended, scontrol="")
    assert code == 75
    assert not [call for call in calls if "scontrol" in call]


def test_the_code_of_the_work_is_that_of_the_job(tmp_path):
    assert run(tmp_path, made(tmp_path), hypercover="exit 1")[0] == 1


def test_a_network_is_judged_only_once_it_is_trained(tmp_path):
    text = made(tmp_path, kind="ranks", nodes=2, cpus=4, processes=2)
    assert "export OMP_NUM_THREADS=2" in text
    assert "--nnodes=2" in text
    assert "--nproc-per-node=2" in text
    shown = (
        'case "$2" in hostnames) echo n1;; *) echo "NodeName=n1 NodeAddr=10.0.0.1 x";; esac'
    )
    code, calls = run(tmp_path, text, srun="exit 4", scontrol=shown, hypercover="exit 0")
    assert code == 4
    assert not [call for call in calls if call.startswith("hypercover")]
    (srun,) = [call for call in calls if call.startswith("srun")]
    assert "--rdzv-endpoint=10.0.0.1:20008" in srun
    assert srun.endswith(f"-m hypercover.experiment.tasks.rank {tmp_path} c")


def test_where_jobs_stand_is_read_without_accounting(tmp_path, monkeypatch):
    said = (
        "7|1|COMPLETED|None\n7|2|RUNNING|None\n7|3|PENDING|Resources\n7|4|TIMEOUT|TimeLimit\n"
        "7|5|CANCELLED|None\n7|6|PENDING|(launch failed|requeued held)\n70|1|RUNNING|None\n"
        "8|N/A|RUNNING|None\n"
    )
    program = tmp_path / "squeue"
    program.write_text(f"#!/bin/bash\ncat <<'E'\n{said}E\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert Slurm().states(["7", "8"]) == {
        ("7", 1): ElementStatus(TaskState.DONE, "COMPLETED"),
        ("7", 2): ElementStatus(TaskState.RUNNING),
        ("7", 3): ElementStatus(TaskState.WAITING, "Resources"),
        ("7", 4): ElementStatus(TaskState.FAILED, "TIMEOUT, TimeLimit"),
        ("7", 5): ElementStatus(TaskState.CANCELLED, "CANCELLED"),
        ("7", 6): ElementStatus(TaskState.WAITING, "(launch failed|requeued held)"),
        ("8", 1): ElementStatus(TaskState.RUNNING),
    }


def test_a_refusal_is_told_in_the_words_of_the_system(slurm, tmp_path, monkeypatch):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    script = tmp_path / "job.sh"
    script.write_text(made(tmp_path, partition="nowhere"))
    with pytest.raises(CallError, match=r"sbatch refuses .*nvalid partition"):
        Slurm().submit(script, [])


def test_a_worker_of_dask_that_slurm_refuses_ends_the_run(slurm, tmp_path, monkeypatch):
    """Else it was asked for again and again, for ever."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    resources = JobResources(partition="nowhere", time="10min")
    executor = DaskExecutor(
        "slurm", workers=1, resources=resources, settings={"interface": "lo"}
    )
    plan = Plan((Task("a", "reduce_run"),), REGISTRY)
    with pytest.raises(CallError, match=r"sbatch refuses .*nvalid partition"):
        run_plan(plan, tmp_path / "run", executor)


def test_a_missing_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CallError, match="sbatch is not on the PATH"):
        Slurm().submit(tmp_path / "job.sh", [])


@pytest.mark.parametrize(
    ("said", "job"), [("Welcome!\n42;tier2\n", "42"), ("17[].head", "17[].head")]
)
def test_the_number_is_found_among_what_a_site_says(said, job):
    assert parse_job_id(said) == job


@pytest.mark.parametrize("said", ["", "sent", "1; rm -rf /", "12 13"])
def test_an_answer_without_a_number_is_one_sentence(said):
    with pytest.raises(CallError, match="the answer holds no job number"):
        parse_job_id(said)
