"""``hypercover cancel``: the jobs of a run are taken back."""

import shlex

from hypercover.cli.options import PREPARED
from hypercover.cli.terminal import say
from hypercover.errors import RunError

__all__ = ["command"]


def command(run: PREPARED) -> None:
    """Take back all jobs of a run that wait or run; what is done stays.

    A job that was not sent from this run folder is named and left alone.

    Example: hypercover cancel runs/fixed
    """
    from hypercover.experiment.preparation import plan_folder
    from hypercover.experiment.tasks.task_registry import REGISTRY
    from hypercover.jobs.plan import Plan
    from hypercover.jobs.submission import (
        Submission,
        cancel_jobs,
        own_jobs,
        remove_empty_output,
    )

    folder = plan_folder(run)
    submission = Submission.load(folder)
    if submission is None:
        # A folder that is no run is an error; one whose experiment was changed is not.
        Plan.load(folder, REGISTRY)
    own, others = ([], []) if submission is None else own_jobs(submission, folder)
    if submission is not None and own:
        cancel_jobs(submission, own)
        submission.model_copy(update={"cancelled": True}).save(folder)
        remove_empty_output(submission, folder)
        again = shlex.join(["hypercover", "resume", str(folder)])
        say(f"Cancelled: {', '.join(own)}. To go on: {again}")
    if others:
        verb = "was" if len(others) == 1 else "were"
        raise RunError(
            f"{', '.join(others)} {verb} not sent from {folder} and {verb} left alone, though "
            f"named in its submission.json; cancel by hand what is yours."
        )
    if not own:
        say("No job of this run waits or runs.")
