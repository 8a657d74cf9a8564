"""The executor of a command, from its options and the defaults of the site."""

from hypercover.errors import CallError
from hypercover.experiment.config.site import site_defaults, update_resources
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.local import LocalExecutor

EXECUTORS = ("inprocess", "local", "dask")
"""This process, local processes, or a Dask cluster."""


def choose_executor(
    kind: str | None, *, workers: int | None = None, dask: str | None = None
) -> Executor | None:
    """Return the executor of a run; None if no option asks for one.

    Parameters
    ----------
    kind : one of `EXECUTORS`, or None
    workers : number of processes or workers that are started for the run
    dask : scheduler of Dask (`hypercover.jobs.dask_executor.DaskExecutor`); implies the
        executor ``dask``.  Workers that are jobs of a batch system are given the
        resources in ``site.yaml``

    Raises
    ------
    CallError
        If the executor is unknown, options contradict each other, or no scheduler answers.

    Examples
    --------
    >>> choose_executor(None) is None, type(choose_executor("local")).__name__
    (True, 'LocalExecutor')
    """
    if kind is None and dask is None:
        return None
    kind = kind or "dask"
    if kind not in EXECUTORS:
        raise CallError(
            f"There is no executor {kind!r}; use one of {', '.join(EXECUTORS)}."
        )
    if dask is not None and kind != "dask":
        raise CallError(
            f"--dask needs the executor dask, but --executor is {kind}; leave out one of them."
        )
    if kind == "inprocess" and (workers or 1) > 1:
        raise CallError(
            f"The executor inprocess does one task at a time, but --workers is {workers}; "
            "use --executor local."
        )
    if kind == "dask":
        # Imported only when used: Dask is heavy.
        from hypercover.jobs.dask_cluster import check_scheduler
        from hypercover.jobs.dask_executor import DaskExecutor

        on_site = dask is not None and "://" not in dask
        resources = update_resources(site_defaults()[1], {}) if on_site else None
        check_scheduler(dask)
        return DaskExecutor(dask, workers=workers, resources=resources)
    return InProcessExecutor() if kind == "inprocess" else LocalExecutor(workers)


def tile_executor(
    kind: str | None, *, workers: int | None, dask: str | None
) -> Executor | None:
    """Return the executor of a map's tiles: ``--workers`` alone asks for local processes."""
    local = "local" if workers and dask is None else None
    return choose_executor(kind or local, workers=workers, dask=dask)
