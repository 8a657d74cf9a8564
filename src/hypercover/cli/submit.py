"""``hypercover submit``: an experiment to a batch system."""

from typing import Annotated

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

__all__ = ["command"]


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
    from hypercover.cli.named import experiment_called
    from hypercover.cli.submitting import submit_and_show, wishes
    from hypercover.experiment.prepared import asked_plan

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
    asked = asked_plan(read, run_folder(out, read.name), search=search)
    submit_and_show(asked, chosen, wanted, dry_run=dry_run)
