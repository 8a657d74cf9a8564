"""``hypercover resume``: submits the missing tasks of a run again."""

from typing import Any

from hypercover.cli.cluster.resource_options import resource_options
from hypercover.cli.options import PREPARED
from hypercover.errors import CallError

__all__ = ["command"]


@resource_options
def command(run: PREPARED, *, resources: dict[str, Any]) -> None:
    """Submit again what failed, was cancelled or got lost; finished tasks are kept.

    Options replace those of the previous submission.

    Example: hypercover resume runs/fixed --time 4h
    """
    from hypercover.cli.cluster.submit import submit_and_show
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
