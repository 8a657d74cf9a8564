"""``hypercover resume``: what is missing of a run is submitted again."""

from typing import Any

from hypercover.cli import options
from hypercover.cli.options import PREPARED
from hypercover.errors import CallError

__all__ = ["command"]


def command(
    run: PREPARED,
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
) -> None:
    """Submit again what failed, was cancelled or got lost; what is done is not touched.

    Options replace those of the submission before.

    Example: hypercover resume runs/fixed --time 4h
    """
    from hypercover.cli.cluster.submit import (
        given_wishes,
        joined_wishes,
        submit_and_show,
    )
    from hypercover.experiment.config.site import parse_resources
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
    if directive is None:
        check_directives(submission.wanted.directives, "The submission before")
    given: dict[str, Any] = given_wishes(
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
    wanted = parse_resources(joined_wishes(submission.wanted.model_dump(), given))
    submit_and_show(prepared, submission.scheduler, wanted)
