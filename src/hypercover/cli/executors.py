"""Who does the tasks of a command, by its options and the defaults of the site."""

from hypercover.experiment.site import site_wishes, wanted_of
from hypercover.jobs.choosing import choose_executor
from hypercover.jobs.executor import Executor

__all__ = ["executor_asked", "executor_of_tiles"]


def executor_asked(
    kind: str | None, *, workers: int | None, dask: str | None
) -> Executor | None:
    """Return who does the tasks; None where nothing was asked for.

    Workers of Dask that are jobs of a batch system ask for what the site's file says.
    """
    wishes = {} if dask is None or "://" in dask else site_wishes()
    wishes.pop("scheduler", None)
    wanted = wanted_of(wishes) if wishes else None
    return choose_executor(kind, workers=workers, dask=dask, wanted=wanted)


def executor_of_tiles(
    kind: str | None, *, workers: int | None, dask: str | None
) -> Executor | None:
    """Return who makes tiles: several local processes where only their number is given."""
    local = "local" if workers and dask is None else None
    return executor_asked(kind or local, workers=workers, dask=dask)
