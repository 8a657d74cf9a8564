"""``hypercover submit``, ``resume`` and ``cancel``: a run as jobs of a batch system."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, cast, get_args

from typer import Option

from hypercover.cli import options
from hypercover.cli.terminal import say
from hypercover.errors import CallError, RunError, counted

if TYPE_CHECKING:
    from hypercover.experiment.config.site import Scheduler
    from hypercover.experiment.run import PreparedRun
    from hypercover.jobs.resources import JobResources
    from hypercover.jobs.submission import ArrayBatch


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
        scripts = write_only(prepared, batch)
        ids = dict.fromkeys((array.name for array in batch.arrays), "not submitted")
        say(*_summary(batch, ids), *(f"Script: {script}" for script in scripts))
        return
    sent = send(prepared, batch)
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


def submit(
    *,
    experiment: options.EXPERIMENT,
    scheduler: Annotated[
        str | None, Option(help="slurm, pbs-torque or pbs-pro (default: the site's).")
    ] = None,
    out: options.RUN_FOLDER = None,
    search: options.GRID = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Write the scripts and submit nothing.")
    ] = False,
    experiment_options: options.ExperimentOptions,
    device: options.DEVICE = "",
    processes: options.PROCESSES = None,
    resource_options: options.ResourceOptions,
) -> None:
    """Send an experiment to Slurm or PBS as job arrays, each after those it needs.

    The scripts are in jobs/ of the run folder, where they can be read, changed and
    submitted by hand. Defaults of the site are read from ~/.config/hypercover/site.yaml.
    Then: hypercover status, logs, cancel, resume.

    Example: hypercover submit fixed.yaml -o runs/fixed --scheduler slurm --time 2h
    """
    from hypercover.experiment.config import site
    from hypercover.experiment.run import plan_run

    default, defaults = site.site_defaults()
    chosen, names = scheduler or default, get_args(site.Scheduler)
    if chosen not in names:
        raise CallError(
            f"A batch system must be named, got {chosen or 'none'}; give --scheduler "
            f"{', '.join(names[:-1])} or {names[-1]}, or write scheduler: into "
            f"{site.site_path()}."
        )
    resources = site.update_resources(defaults, resource_options.given)
    run_options = options.RunOptions(device=device, processes=processes)
    loaded, folder = experiment_options.load(experiment, out, run_options)
    prepared = plan_run(loaded, folder, search=search)
    system = cast("site.Scheduler", chosen)
    submit_and_show(prepared, system, resources, dry_run=dry_run)


def resume(*, run: options.PREPARED, resource_options: options.ResourceOptions) -> None:
    """Resubmit the tasks that failed, were cancelled or got lost; finished tasks are kept.

    Options replace those of the previous submission.

    Example: hypercover resume runs/fixed --time 4h
    """
    from hypercover.experiment.config.site import update_resources
    from hypercover.experiment.run import load_prepared
    from hypercover.jobs.resources import check_directives
    from hypercover.jobs.submission import Submission, check_idle

    prepared = load_prepared(run)
    submission = Submission.load(prepared.folder)
    if submission is None:
        raise CallError(
            f"Nothing was submitted from {prepared.folder}; call hypercover submit."
        )
    check_idle(prepared.folder, prepared.plan.registry)
    if resource_options.directives is None:
        check_directives(submission.resources.directives, "The previous submission")
    resources = update_resources(submission.resources.model_dump(), resource_options.given)
    submit_and_show(prepared, submission.scheduler, resources)


def cancel(run: options.PREPARED) -> None:
    """Cancel all waiting and running jobs of a run; finished tasks are kept.

    A job that was not submitted from this run folder is named and left alone.

    Example: hypercover cancel runs/fixed
    """
    from hypercover.experiment.run import plan_folder
    from hypercover.experiment.tasks.task_registry import REGISTRY
    from hypercover.jobs.plan import Plan
    from hypercover.jobs.submission import Submission

    folder = plan_folder(run)
    submission = Submission.load(folder)
    own: list[str] = []
    if submission is None:
        # Raises for a folder without a run; an experiment that was changed is no error.
        Plan.load(folder, REGISTRY)
    else:
        own, others = submission.own_jobs(folder)
        if own:
            submission.cancel_jobs(own)
            submission.model_copy(update={"cancelled": True}).save(folder)
            submission.remove_empty_output(folder)
            again = shlex.join(["hypercover", "resume", str(folder)])
            say(f"Cancelled: {', '.join(own)}. To resume: {again}")
        if others:
            verb = "was" if len(others) == 1 else "were"
            raise RunError(
                f"{', '.join(others)} {verb} not submitted from {folder} and {verb} left "
                "alone, though its submission.json names them; cancel your own by hand."
            )
    if not own:
        say("No job of this run waits or runs.")
