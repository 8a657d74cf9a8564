"""``hypercover submit``: an experiment to a batch system."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from hypercover.cli import options
from hypercover.cli.options import (
    DATA,
    DEVICE,
    EXPERIMENT,
    GRID,
    PROCESSES,
    RUN_FOLDER,
    RUN_SEED,
    SCENE,
    SET,
    changes,
    run_folder,
)
from hypercover.errors import CallError, counted

if TYPE_CHECKING:
    from hypercover.experiment.config.site import Scheduler
    from hypercover.experiment.preparation import PreparedRun
    from hypercover.experiment.submit import ArrayBatch
    from hypercover.jobs.resources import JobResources

__all__ = ["command", "given_wishes", "joined_wishes", "submit_and_show", "wishes"]


def given_wishes(**options: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def wishes(scheduler: str | None, **options: Any) -> tuple[Scheduler, JobResources]:
    """Join the defaults of the site with the options of a call.

    Raises
    ------
    CallError
        If no batch system is named, or something is no wish.
    """
    from hypercover.experiment.config.site import (
        Scheduler,
        parse_resources,
        site_defaults,
        site_path,
    )

    site = site_defaults()
    named = scheduler or site.pop("scheduler", None)
    site.pop("scheduler", None)
    known = get_args(Scheduler)
    if named not in known:
        raise CallError(
            f"A batch system must be named, got {named or 'none'}; give --scheduler "
            f"{', '.join(known[:-1])} or {known[-1]}, or write scheduler: into {site_path()}."
        )
    return cast(Scheduler, named), parse_resources(
        joined_wishes(site, given_wishes(**options))
    )


def joined_wishes(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Replace wishes by those that are given, and with them what contradicts those."""
    found = before | given
    for own, other in (("memory", "memory_per_cpu"), ("memory_per_cpu", "memory")):
        if own in given and other not in given:
            found.pop(other, None)
    return found


def submit_and_show(
    asked: PreparedRun, scheduler: Scheduler, wanted: JobResources, *, dry_run: bool = False
) -> None:
    """Send what is missing of a plan and say what was sent."""
    from hypercover.cli.tables import say
    from hypercover.experiment.submit import make_arrays, send, write_only
    from hypercover.jobs.submission import scripts_folder

    ready = make_arrays(asked, scheduler, wanted)
    if not ready.arrays:
        say(f"All {counted(len(asked.plan.tasks), 'task')} are done; nothing is submitted.")
        return
    if dry_run:
        scripts = write_only(ready)
        ids = dict.fromkeys((array.name for array in ready.arrays), "not submitted")
        say(*_lines(ready, ids), *(f"Script: {script}" for script in scripts))
        return
    sent = send(ready)
    say(*_lines(ready, {array.name: f"job {array.job}" for array in sent.arrays}))
    say(f"Scripts: {scripts_folder(asked.folder)}")
    then = shlex.join(["hypercover", "status", str(asked.folder)])
    say(f"Then: {then} (and logs, cancel, resume)")


def _lines(ready: ArrayBatch, ids: dict[str, str]) -> list[str]:
    """Say in a line for each array what it is, and in one what each element is given."""
    lines = []
    for array in ready.arrays:
        tasks = sum(map(len, array.elements))
        waits = f", after {', '.join(array.after)}" if array.after else ""
        lines.append(
            f"{array.name}: {ids[array.name]}, {counted(tasks, 'task')} in "
            f"{counted(len(array.elements), 'element')}{waits}"
        )
    return [*lines, *_given(ready)]


def _given(ready: ArrayBatch) -> list[str]:
    """Say what an element of each kind is given."""
    kinds = {array.kind != "plain" for array in ready.arrays}
    if not ready.resources.gpus or kinds == {False}:
        return [f"Each element is given {_resources(ready.resources.share(gpus=False))}."]
    lines = [f"What has GPUs is given {_resources(ready.resources.share(gpus=True))}."]
    if False in kinds:
        lines.append(f"The rest is given {_resources(ready.resources.share(gpus=False))}.")
        if ready.resources.partition and not ready.resources.gpu_partition:
            lines.append(
                f"Note: what needs no GPU goes to {ready.resources.partition} too; where the "
                "site wants that apart, name both --partition and --gpu-partition."
            )
    return lines


def _resources(wanted: JobResources) -> str:
    from hypercover.jobs.resources import format_time

    memory = wanted.memory or 0
    parts = [
        wanted.gpus and counted(wanted.gpus, "GPU"),
        counted(wanted.cpus, "core"),
        memory and f"{memory / 2**30:.1f} GiB",
        wanted.memory_per_cpu and f"{wanted.memory_per_cpu / 2**30:.1f} GiB a core",
        format_time(wanted.time or 0),
        wanted.gpus and wanted.partition and f"in {wanted.partition}",
    ]
    return ", ".join(part for part in parts if part)


def command(
    experiment: EXPERIMENT,
    scheduler: Annotated[
        str | None, typer.Option(help="slurm, pbs-torque or pbs-pro (default: the site's).")
    ] = None,
    out: RUN_FOLDER = None,
    search: GRID = False,
    partition: options.PARTITION = None,
    account: options.ACCOUNT = None,
    time: options.TIME = None,
    gpus: options.GPUS = None,
    cpus: options.CPUS = None,
    mem: options.MEM = None,
    mem_per_cpu: options.MEM_PER_CPU = None,
    gpu_partition: options.GPU_PARTITION = None,
    gpu_cpus: options.GPU_CPUS = None,
    gpu_mem: options.GPU_MEM = None,
    nodes: options.NODES = None,
    array_chunk: options.ARRAY_CHUNK = None,
    module: options.MODULE = None,
    directive: options.DIRECTIVE = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the scripts and submit nothing.")
    ] = False,
    set_: SET = None,
    data: DATA = None,
    scene: SCENE = None,
    seed: RUN_SEED = None,
    device: DEVICE = "",
    processes: PROCESSES = None,
) -> None:
    """Send an experiment to Slurm or PBS as job arrays, each after those it needs.

    The scripts lie in jobs/ of the run folder, where they can be read, changed and
    submitted by hand. What a site always asks for stands in
    ~/.config/hypercover/site.yaml. Then: hypercover status, logs, cancel, resume.

    Example: hypercover submit fixed.yaml -o runs/fixed --scheduler slurm --time 2h
    """
    from hypercover.cli.opening import experiment_called
    from hypercover.experiment.preparation import plan_run

    chosen, wanted = wishes(
        scheduler,
        partition=partition,
        account=account,
        time=time,
        gpus=gpus,
        cpus=cpus,
        memory=mem,
        memory_per_cpu=mem_per_cpu,
        gpu_partition=gpu_partition,
        gpu_cpus=gpu_cpus,
        gpu_memory=gpu_mem,
        nodes=nodes,
        array_chunk=array_chunk,
        modules=module,
        directives=directive,
    )
    overrides = changes(set_, seed=seed, device=device, processes=processes)
    read = experiment_called(experiment, out, overrides, data=data, choice=scene)
    asked = plan_run(read, run_folder(out, read.name), search=search)
    submit_and_show(asked, chosen, wanted, dry_run=dry_run)
