"""The shell script of a job array.

Users may read it, change it and submit it by hand.
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

_RANK_MODULE = "hypercover.experiment.tasks.rank"
_RESTARTS = 3
"""Times that torchrun restarts dead processes."""
_GRACE = 30
"""Seconds a task has to stop if there is no time limit."""


def current_umask() -> str:
    """Return the umask of this process as four octal digits."""
    # It can only be read by setting it: to a strict one, for that moment.
    mask = os.umask(0o077)
    os.umask(mask)
    return f"{mask:04o}"


def task_list(array: JobArray) -> str:
    """Return a line for each element: its tasks, separated by commas."""
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
    folder : run folder
    place : folder of the script and of the output of elements
    command : command line of hypercover
    python : command line of Python
    processes : ranks of a machine
    title : name of the run
    umask : of the written files, as four octal digits
    """
    resources = resources.share(gpus=array.kind != "plain")
    variables = system.shell_variables(array)
    several = array.kind == "ranks"
    parts = [
        "#!/bin/bash",
        *system.header(array, resources, title, place, umask=umask),
        *_comments(array, system),
        "# The umask of the submitter: PBS would let nobody else read the results.",
        f"umask {umask}",
        f"folder={shlex.quote(str(folder))}",
        f"scripts={shlex.quote(str(place))}",
        f"element={variables['element']}",
        f'tasks=$(sed -n "${{element}}p" "$scripts/{array.name}.tasks")',
        *_redirect_output(array, system),
        *_remove_empty(array, system),
        'echo "$(date) on $(hostname): $tasks"',
        *module_lines(resources.modules),
        "",
        _STOPPING,
        *(_torchrun(system, resources, python, processes) if several else []),
        *(['if [ -n "$tasks" ]; then'] if several else []),
        *_work(command, resources),
        *(["fi"] if several else []),
        *_requeue(variables["requeue"]),
    ]
    return "\n".join(parts) + "\n"


def _comments(array: JobArray, system: BatchSystem) -> list[str]:
    """Return comments about the script, and the arrays it must wait for."""
    waits = f"after the end of {', '.join(array.after)}" if array.after else "at once"
    send = system.commands[0]
    return [
        "",
        "# Written by hypercover submit. Every element does the tasks in its line of",
        f"# {array.name}.tasks; finished tasks are skipped, so it may run twice.",
        f"# By hand: {send} {array.name}.sh, {waits}.",
    ]


def _redirect_output(array: JobArray, system: BatchSystem) -> list[str]:
    """Redirect the output into a file that can be read at once, as Slurm does by itself."""
    if system.name == "slurm":
        return []
    return [f'exec >>"$scripts/{array.name}-$element.out" 2>&1']


def _remove_empty(array: JobArray, system: BatchSystem) -> list[str]:
    """Remove the empty files that the system leaves next to the output of elements."""
    if len(array.elements) > 1 or not array.after or not system.empty_file_patterns():
        return []
    names = " -o ".join(
        f"-name {shlex.quote(name)}" for name in system.empty_file_patterns()
    )
    return [f'find "$scripts" -maxdepth 1 -type f -empty \\( {names} \\) -delete']


def module_lines(modules: Sequence[str]) -> list[str]:
    """Return the lines that load environment modules, or end the job if one fails.

    Old versions of ``module`` return 0 on failure, so the loaded modules are checked too.
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
    # On USR1 (the time limit is near) or TERM the work leaves a checkpoint.
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


def _requeue(requeue: str) -> list[str]:
    """Return the lines that requeue an element which the time limit stopped."""
    if not requeue:
        return ['exit "$code"']
    return [
        "# 143: the signal came before the work began.",
        'if [ "$asked" = limit ] && { [ "$code" = 75 ] || [ "$code" = 143 ]; }; then',
        '    echo "Stopped before the time limit; requeued to resume."',
        f"    {requeue}",
        "fi",
        'exit "$code"',
    ]


def _torchrun(
    system: BatchSystem, resources: JobResources, python: Sequence[str], processes: int
) -> list[str]:
    """Return the lines that first train a network in several processes."""
    rendezvous = ["--standalone"]
    if system.name == "slurm":
        rendezvous = [
            f"--nnodes={resources.nodes}",
            '--rdzv-id="$SLURM_JOB_ID"',
            "--rdzv-backend=c10d",
            '--rdzv-endpoint="$host:$port"',
        ]
    count = [f"--nproc-per-node={processes}", f"--max-restarts={_RESTARTS}"]
    torchrun = [shlex.join(python), "-m torch.distributed.run", *rendezvous, *count]
    start = f"srun --cpus-per-task={resources.cpus} " if system.name == "slurm" else ""
    return [
        "# Several processes train the network; the rest is done afterwards.",
        f"export OMP_NUM_THREADS={max(1, resources.cpus // processes)} PYTHONSAFEPATH=1",
        "# Without it a killed process is often not restarted (pytorch issue 135712).",
        "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1",
        *(_RENDEZVOUS if system.name == "slurm" else []),
        f"{start}{' '.join(torchrun)} \\",
        f'    -m {_RANK_MODULE} "$folder" "$tasks" &',
        "work=$!",
        "waited",
        '[ "$code" = 0 ] || [ -z "$asked" ] || code=75',
        '[ "$code" = 0 ] || tasks=',
    ]


_RENDEZVOUS = (
    'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
    "host=$(scontrol -o show node \"$first\" | grep -o 'NodeAddr=[^ ]*' | cut -d= -f2)",
    "port=$((20000 + SLURM_JOB_ID % 20000))",
)
"""The rendezvous of the processes on all machines, at an address that Slurm knows."""
