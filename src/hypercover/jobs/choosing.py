"""Choosing who does the tasks by a word, as commands are given it."""

from hypercover.errors import CallError
from hypercover.jobs.executor import Executor
from hypercover.jobs.inprocess import InProcessExecutor
from hypercover.jobs.local import LocalExecutor
from hypercover.jobs.wanted import Wanted

__all__ = ["KINDS", "choose_executor"]

KINDS = ("inprocess", "local", "dask")
"""Who can do tasks: this process, local processes, a Dask cluster."""


def choose_executor(
    kind: str | None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    wanted: Wanted | None = None,
) -> Executor | None:
    """Return who does the tasks; None where nothing was asked for.

    Parameters
    ----------
    kind : one of `KINDS`, or None
    workers : processes or workers, where they are started for the run
    dask : scheduler of Dask (`hypercover.jobs.dask.DaskExecutor`); asks for Dask
        where no kind is given
    wanted : what Dask's workers ask of a batch system

    Raises
    ------
    CallError
        If there is no such kind, the options contradict each other, or no scheduler
        answers.

    Examples
    --------
    >>> choose_executor(None) is None, type(choose_executor("local")).__name__
    (True, 'LocalExecutor')
    """
    if kind is None and dask is None:
        return None
    kind = kind or "dask"
    if kind not in KINDS:
        raise CallError(f"There is no executor {kind!r}; use one of {', '.join(KINDS)}.")
    if dask is not None and kind != "dask":
        raise CallError(
            f"--dask names a Dask scheduler and --executor asks for {kind}; leave out one "
            "of them."
        )
    if kind == "inprocess" and (workers or 1) > 1:
        raise CallError(
            f"This process does tasks one after another, and {workers} workers are asked "
            "for; use --executor local."
        )
    if kind == "dask":
        # Dask is heavy, and only who asks for it pays.
        from hypercover.jobs.dask import DaskExecutor
        from hypercover.jobs.dask_cluster import check_reach

        check_reach(dask)
        return DaskExecutor(dask, workers=workers, wanted=wanted)
    return InProcessExecutor() if kind == "inprocess" else LocalExecutor(workers)
