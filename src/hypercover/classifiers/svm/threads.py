"""Threads: blocks of work side by side, each with matrix products of one thread.

A matrix product split over all cores leaves them idle between products and
waits for the slowest of them; small ones are slower than on one core.  Whole
blocks side by side keep every core busy with work of its own.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar

from numba import config
from threadpoolctl import ThreadpoolController

__all__ = ["default_threads", "run_in_threads", "single_threaded_blas"]

Block = TypeVar("Block")


def run_in_threads(work: Callable[[Block], None], blocks: Iterable[Block]) -> None:
    """Call ``work`` for each block, with as many threads as a matrix product would use.

    So the number of threads follows the environment (``OMP_NUM_THREADS``) and
    the limits that a caller has set, and processes with one thread stay so.
    The first error is raised again; blocks not begun by then are left out.
    """
    todo = list(blocks)
    if len(todo) < 2:
        for block in todo:
            work(block)
        return
    with single_threaded_blas as threads, ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, todo):
            pass


class _SingleThreadedBLAS:
    """Holds matrix products to one thread for as long as anybody needs it."""

    def __init__(self) -> None:
        self._lock, self._users, self._threads = Lock(), 0, 1
        self._limit: Any = None

    def __enter__(self) -> int:
        """Set the limit, if nobody has, and return the threads there were without it."""
        with self._lock:
            if not self._users:
                blas = _blas()
                counts = [library.num_threads for library in blas.lib_controllers]
                self._threads = max(counts, default=1)
                self._limit = blas.limit(limits=1)
            self._users += 1
            return self._threads

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lift the limit when the last one leaves."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._limit.restore_original_limits()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Find the libraries of matrix products that are loaded: it takes some milliseconds."""
    # NumPy's is there already, SciPy's comes with its linear algebra.
    import_module("scipy.linalg")
    return ThreadpoolController().select(user_api="blas")


single_threaded_blas = _SingleThreadedBLAS()
"""Context in which matrix products take one thread; may be entered from several threads."""


def default_threads() -> int:
    """Return one thread a core, or as many as ``NUMBA_NUM_THREADS`` says.

    Why it exists: to ask Numba itself starts its pool and gives every other library
    of the process, PyTorch among them, as many threads; these then add up numbers in
    another order.

    Examples
    --------
    >>> default_threads() >= 1
    True
    """
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
