"""``hypercover submit``: sends an experiment to a batch system."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from hypercover.cli.cluster.resource_options import resource_options
from hypercover.cli.options import (
    DATA,
    DEVICE,
    EXPERIMENT,
    GRID,
    PREPARED,
    PROCESSES,
    RUN_FOLDER,
    RUN_SEED,
    SCENE,
    SET,
    changes,
    run_folder,
)
from hypercover.cli.terminal import say
from hypercover.errors import CallError, counted

if TYPE_CHECKING:
    from hypercover.experiment.array_submission import ArrayBatch
    from hypercover.experiment.config.site import Scheduler
    from hypercover.experiment.preparation import PreparedRun
    from hypercover.jobs.resources import JobResources


def submit_and_show(
    prepared: PreparedRun,
    scheduler: Scheduler,
    resources: JobResources,
    *,
    dry_run: bool = False,
) -> None:
    """Submit the missing tasks of a plan, and print what was submitted."""
    from hypercover.experiment.array_submission import make_arrays, send, write_only
    from hypercover.jobs.submission import scripts_folder

    batch = make_arrays(prepared, scheduler, resources)
    if not batch.arrays:
        tasks = counted(len(prepared.plan.tasks), "task")
        say(f"All {tasks} are done; nothing is submitted.")
        return
    if dry_run:
        scripts = write_only(batch)
        ids = dict.fromkeys((array.name for array in batch.arrays), "not submitted")
        say(*_summary(batch, ids), *(f"Script: {script}" for script in scripts))
        return
    sent = send(batch)
    say(*_summary(batch, {array.name: f"job {array.job}" for array in sent.arrays}))
    say(f"Scripts: {scripts_folder(prepared.folder)}")
    then = shlex.join(["hypercover", "status", str(prepared.folder)])
    say(f"Then: {then} (and logs, cancel, resume)")


def _summary(batch: ArrayBatch, ids: dict[str, str]) -> list[str]:
    """Describe each array in a line, and the resources of an element."""
    lines = []
    for array in batch.arrays:
        tasks = sum(map(len, array.elements))
        waits = f", after {', '.join(array.after)}" if array.after else ""
        lines.append(
            f"{array.name}: {ids[array.name]}, {counted(tasks, 'task')} in "
            f"{counted(len(array.elements), 'element')}{waits}"
        )
    return [*lines, *_shares(batch)]


def _shares(batch: ArrayBatch) -> list[str]:
    """Describe the resources of an element, with and without GPUs."""
    resources, kinds = batch.resources, {array.kind != "plain" for array in batch.arrays}
    if not resources.gpus or kinds == {False}:
        return [f"Each element is given {_text(resources.share(gpus=False))}."]
    lines = [f"What has GPUs is given {_text(resources.share(gpus=True))}."]
    if False in kinds:
        lines.append(f"The rest is given {_text(resources.share(gpus=False))}.")
        if resources.partition and not resources.gpu_partition:
            lines.append(
                f"Note: what needs no GPU goes to {resources.partition} too; if the site "
                "separates them, give both --partition and --gpu-partition."
            )
    return lines


def _text(resources: JobResources) -> str:
    from hypercover.jobs.resources import format_time

    per_core = resources.memory_per_cpu
    parts = [
        resources.gpus and counted(resources.gpus, "GPU"),
        counted(resources.cpus, "core"),
        resources.memory and f"{resources.memory / 2**30:.1f} GiB",
        per_core and f"{per_core / 2**30:.1f} GiB a core",
        format_time(resources.time or 0),
        resources.gpus and resources.partition and f"in {resources.partition}",
    ]
    return ", ".join(part for part in parts if part)


def _scheduler_and_resources(
    scheduler: str | None, given: dict[str, Any]
) -> tuple[Scheduler, JobResources]:
    """Join the options of a call with the defaults of the site."""
    from hypercover.experiment.config.site import (
        Scheduler,
        site_defaults,
        site_path,
        update_resources,
    )

    default, resources = site_defaults()
    chosen, known = scheduler or default, get_args(Scheduler)
    if chosen not in known:
        raise CallError(
            f"A batch system must be named, got {chosen or 'none'}; give --scheduler "
            f"{', '.join(known[:-1])} or {known[-1]}, or write scheduler: into {site_path()}."
        )
    return cast(Scheduler, chosen), update_resources(resources, given)


@resource_options
def command(
    experiment: EXPERIMENT,
    scheduler: Annotated[
        str | None, typer.Option(help="slurm, pbs-torque or pbs-pro (default: the site's).")
    ] = None,
    out: RUN_FOLDER = None,
    search: GRID = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the scripts and submit nothing.")
    ] = False,
    set_: SET = None,
    data: DATA = None,
    scene: SCENE = None,
    seed: RUN_SEED = None,
    device: DEVICE = "",
    processes: PROCESSES = None,
    *,
    resources: dict[str, Any],
) -> None:
    """Send an experiment to Slurm or PBS as job arrays, each after those it needs.

    The scripts are in jobs/ of the run folder, where they can be read, changed and
    submitted by hand. Defaults of the site are read from ~/.config/hypercover/site.yaml.
    Then: hypercover status, logs, cancel, resume.

    Example: hypercover submit fixed.yaml -o runs/fixed --scheduler slurm --time 2h
    """
    from hypercover.cli.opening import experiment_called
    from hypercover.experiment.preparation import plan_run

    system, requested = _scheduler_and_resources(scheduler, resources)
    overrides = changes(set_, seed=seed, device=device, processes=processes)
    read = experiment_called(experiment, out, overrides, data=data, choice=scene)
    prepared = plan_run(read, run_folder(out, read.name), search=search)
    submit_and_show(prepared, system, requested, dry_run=dry_run)


@resource_options
def resume(run: PREPARED, *, resources: dict[str, Any]) -> None:
    """Submit again what failed, was cancelled or got lost; finished tasks are kept.

    Options replace those of the previous submission.

    Example: hypercover resume runs/fixed --time 4h
    """
    from hypercover.experiment.config.site import update_resources
    from hypercover.experiment.preparation import load_prepared
    from hypercover.jobs.resources import check_directives
    from hypercover.jobs.submission import Submission, check_idle

    prepared = load_prepared(run)
    submission = Submission.load(prepared.folder)
    if submission is None:
        raise CallError(
            f"Nothing was submitted from {prepared.folder}; call hypercover submit."
        )
    check_idle(prepared.folder, prepared.plan.registry)
    if "directives" not in resources:
        check_directives(submission.resources.directives, "The previous submission")
    updated = update_resources(submission.resources.model_dump(), resources)
    submit_and_show(prepared, submission.scheduler, updated)
