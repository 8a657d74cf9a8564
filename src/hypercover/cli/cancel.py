"""``hypercover cancel``: the jobs of a run are taken back."""

import shlex

from hypercover.cli.options import PREPARED
from hypercover.cli.terminal import say

__all__ = ["command"]


def command(run: PREPARED) -> None:
    """Take back all jobs of a run that wait or run; what is done stays.

    Example: hypercover cancel runs/fixed
    """
    from hypercover.experiment.prepared import prepared_folder
    from hypercover.experiment.task_kinds import REGISTRY
    from hypercover.jobs.plan import Plan
    from hypercover.jobs.submission import Submission, at_work, cancel_jobs, sweep_empty

    folder = prepared_folder(run)
    submission = Submission.load(folder)
    if submission is None:
        # A folder that is no run is an error; one whose experiment was changed is not.
        Plan.load(folder, REGISTRY)
    busy = at_work(submission)
    if submission is None or not busy:
        say("No job of this run waits or runs.")
        return
    cancel_jobs(submission, busy)
    submission.model_copy(update={"cancelled": True}).save(folder)
    sweep_empty(submission, folder)
    again = shlex.join(["hypercover", "resume", str(folder)])
    say(f"Cancelled: {', '.join(busy)}. To go on: {again}")
