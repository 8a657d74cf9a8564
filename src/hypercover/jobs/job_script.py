"""The script of a job array: what the batch system is asked for, and what is done.

It is for people too: they can read it, change it and send it by hand.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

from hypercover.jobs.batch_system import BatchSystem
from hypercover.jobs.job_arrays import JobArray
from hypercover.jobs.resources import JobResources
from hypercover.jobs.slurm import warning_seconds

__all__ = ["array_script", "current_umask", "module_lines", "task_list"]

_RANKS = "hypercover.experiment.tasks.rank"
_RESTARTS = 3
"""Times torchrun starts dead processes again."""
_GRACE = 30
"""Seconds a task has to stop where no time limit says less."""


def current_umask() -> str:
    """Return the umask of this process as four octal digits."""
    # It can only be read by setting it; the stricter one stands for that moment.
    mask = os.umask(0o077)
    os.umask(mask)
    return f"{mask:04o}"


def task_list(array: JobArray) -> str:
    """Return a line for each element: its tasks, with commas between."""
    return "".join(f"{','.join(element)}\n" for element in array.elements)


def array_script(
    array: JobArray,
    system: BatchSystem,
    resources: JobResources,
    *,
    folder: Path,
    place: Path,
    command: Sequence[str],
    python: Sequence[str],
    processes: int,
    title: str = "hypercover",
    umask: str = "0022",
) -> str:
    """Return the script of an array.

    Parameters
    ----------
    folder : the folder whose plan is worked on
    place : where the script and what the elements print lie
    command : the words that call hypercover
    python : the words that call Python
    processes : ranks of a machine
    title : what the run is called
    umask : of the files that are written, as four octal digits
    """
    resources = resources.share(gpus=array.kind != "plain")
    words = system.shell_variables(array)
    several = array.kind == "ranks"
    parts = [
        "#!/bin/bash",
        *system.header(array, resources, title, place, umask=umask),
        *_about(array, system),
        "# As whoever sent it: PBS would let nobody else read the results.",
        f"umask {umask}",
        f"folder={shlex.quote(str(folder))}",
        f"scripts={shlex.quote(str(place))}",
        f"element={words['element']}",
        f'tasks=$(sed -n "${{element}}p" "$scripts/{array.name}.tasks")',
        *_printing(array, system),
        *_swept(array, system),
        'echo "$(date) on $(hostname): $tasks"',
        *module_lines(resources.modules),
        "",
        _STOPPING,
        *(_torchrun(system, resources, python, processes) if several else []),
        *(['if [ -n "$tasks" ]; then'] if several else []),
        *_work(command, resources),
        *(["fi"] if several else []),
        *_ending(words["requeue"]),
    ]
    return "\n".join(parts) + "\n"


def _about(array: JobArray, system: BatchSystem) -> list[str]:
    """Say in comments what the script is, and what it must wait for."""
    waits = f"after {', '.join(array.after)} ended" if array.after else "at once"
    send = system.commands[0]
    return [
        "",
        "# Written by hypercover submit. Every element does the tasks in its line of",
        f"# {array.name}.tasks; a task that is done is passed over, so it may run twice.",
        f"# By hand: {send} {array.name}.sh, {waits}.",
    ]


def _printing(array: JobArray, system: BatchSystem) -> list[str]:
    """Let an element print where it can be read at once; Slurm does so by itself."""
    if system.name == "slurm":
        return []
    return [f'exec >>"$scripts/{array.name}-$element.out" 2>&1']


def _swept(array: JobArray, system: BatchSystem) -> list[str]:
    """Remove the empty files that the system leaves beside what elements print."""
    if len(array.elements) > 1 or not array.after or not system.empty_file_patterns():
        return []
    names = " -o ".join(
        f"-name {shlex.quote(name)}" for name in system.empty_file_patterns()
    )
    return [f'find "$scripts" -maxdepth 1 -type f -empty \\( {names} \\) -delete']


def module_lines(modules: Sequence[str]) -> list[str]:
    """Return the lines that load environment modules, or end the job and say which failed.

    Old versions of ``module`` fail and return 0, so what is loaded is looked at too.
    """
    if not modules:
        return []
    return [*_LOADING.splitlines(), *(f"load_module {module}" for module in modules)]


_LOADING = dedent("""\
    load_module() {
        before=${LOADEDMODULES-}
        if module load "$1"; then
            [ -n "${LOADEDMODULES+set}" ] || return 0
            [ "$LOADEDMODULES" = "$before" ] || return 0
            case ":$LOADEDMODULES:" in *":$1:"* | *":$1/"*) return 0 ;; esac
        fi
        echo "hypercover: the module $1 cannot be loaded on $(hostname), so nothing is done;" \\
            "name another with --module." >&2
        exit 1
    }
    """)

_STOPPING = dedent("""\
    # Warned of the time limit (USR1) or told to end (TERM), the work leaves a checkpoint.
    asked=
    trap 'asked=limit; kill -TERM "$work" 2>/dev/null' USR1
    trap 'asked=end; echo "Told to end (SIGTERM)."; kill -TERM "$work" 2>/dev/null' TERM
    waited() {
        wait "$work"; code=$?
        while [ "$code" -gt 128 ] && kill -0 "$work" 2>/dev/null; do
            wait "$work"; code=$?
        done
    }
    """)


def _work(command: Sequence[str], resources: JobResources) -> list[str]:
    """Return the lines that do the tasks of an element."""
    grace = _GRACE if resources.time is None else warning_seconds(resources.time) // 2
    call = f'{shlex.join(command)} work "$folder" --tasks "$tasks"'
    return [f"{call} --threads {resources.cpus} --grace {grace} &", "work=$!", "waited"]


def _ending(requeue: str) -> list[str]:
    """Return the lines that send an element back whose work was stopped by the limit."""
    if not requeue:
        return ['exit "$code"']
    return [
        "# 143: it was told before it had begun.",
        'if [ "$asked" = limit ] && { [ "$code" = 75 ] || [ "$code" = 143 ]; }; then',
        '    echo "Stopped before the time limit; it goes on when it is its turn again."',
        f"    {requeue}",
        "fi",
        'exit "$code"',
    ]


def _torchrun(
    system: BatchSystem, resources: JobResources, python: Sequence[str], processes: int
) -> list[str]:
    """Return the lines that train a network in several processes, before the rest."""
    meeting = ["--standalone"]
    if system.name == "slurm":
        meeting = [
            f"--nnodes={resources.nodes}",
            '--rdzv-id="$SLURM_JOB_ID"',
            "--rdzv-backend=c10d",
            '--rdzv-endpoint="$host:$port"',
        ]
    count = [f"--nproc-per-node={processes}", f"--max-restarts={_RESTARTS}"]
    torchrun = [shlex.join(python), "-m torch.distributed.run", *meeting, *count]
    start = f"srun --cpus-per-task={resources.cpus} " if system.name == "slurm" else ""
    return [
        "# The network is trained by several processes; what is left is done after that.",
        f"export OMP_NUM_THREADS={max(1, resources.cpus // processes)} PYTHONSAFEPATH=1",
        "# Else a killed process is often not started again (pytorch issue 135712).",
        "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1",
        *(_MEETING if system.name == "slurm" else []),
        f"{start}{' '.join(torchrun)} \\",
        f'    -m {_RANKS} "$folder" "$tasks" &',
        "work=$!",
        "waited",
        '[ "$code" = 0 ] || [ -z "$asked" ] || code=75',
        '[ "$code" = 0 ] || tasks=',
    ]


_MEETING = (
    'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
    "host=$(scontrol -o show node \"$first\" | grep -o 'NodeAddr=[^ ]*' | cut -d= -f2)",
    "port=$((20000 + SLURM_JOB_ID % 20000))",
)
"""Where the processes of all machines meet: Slurm knows how a machine is reached."""
