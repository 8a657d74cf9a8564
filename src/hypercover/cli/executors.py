"""Who does the tasks of a command, by its options and the defaults of the site."""

from hypercover.errors import CallError
from hypercover.experiment.config.site import parse_resources, site_defaults
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.local import LocalExecutor
from hypercover.jobs.resources import JobResources

__all__ = ["KINDS", "choose_executor", "executor_asked", "tile_executor"]

KINDS = ("inprocess", "local", "dask")
"""Who can do tasks: this process, local processes, a Dask cluster."""


def choose_executor(
    kind: str | None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    wanted: JobResources | None = None,
) -> Executor | None:
    """Return who does the tasks; None where nothing was asked for.

    Parameters
    ----------
    kind : one of `KINDS`, or None
    workers : processes or workers, where they are started for the run
    dask : scheduler of Dask (`hypercover.jobs.dask_executor.DaskExecutor`); asks for Dask
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
        from hypercover.jobs.dask_cluster import check_scheduler
        from hypercover.jobs.dask_executor import DaskExecutor

        check_scheduler(dask)
        return DaskExecutor(dask, workers=workers, wanted=wanted)
    return InProcessExecutor() if kind == "inprocess" else LocalExecutor(workers)


def executor_asked(
    kind: str | None, *, workers: int | None, dask: str | None
) -> Executor | None:
    """Return who does the tasks; None where nothing was asked for.

    Workers of Dask that are jobs of a batch system ask for what the site's file says.
    """
    wishes = {} if dask is None or "://" in dask else site_defaults()
    wishes.pop("scheduler", None)
    wanted = parse_resources(wishes) if wishes else None
    return choose_executor(kind, workers=workers, dask=dask, wanted=wanted)


def tile_executor(
    kind: str | None, *, workers: int | None, dask: str | None
) -> Executor | None:
    """Return who makes tiles: several local processes where only their number is given."""
    local = "local" if workers and dask is None else None
    return executor_asked(kind or local, workers=workers, dask=dask)
