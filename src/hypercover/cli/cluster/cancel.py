"""``hypercover cancel``: cancels the jobs of a run."""

import shlex

from hypercover.cli.options import PREPARED
from hypercover.cli.terminal import say
from hypercover.errors import RunError


def command(run: PREPARED) -> None:
    """Cancel all jobs of a run that wait or run; finished tasks are kept.

    A job that was not submitted from this run folder is named and left alone.

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
    own: list[str] = []
    if submission is None:
        # Raises for a folder without a run; an experiment that was changed is no error.
        Plan.load(folder, REGISTRY)
    else:
        own, others = own_jobs(submission, folder)
        if own:
            cancel_jobs(submission, own)
            submission.model_copy(update={"cancelled": True}).save(folder)
            remove_empty_output(submission, folder)
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
