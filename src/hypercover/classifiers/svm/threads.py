"""Parallel blocks of work in threads, each with single-threaded matrix products.

Multithreaded matrix products leave cores idle between products, and small ones are
slower than on one core.  Independent blocks keep every core busy.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any, TypeVar

from numba import config
from threadpoolctl import ThreadpoolController

Block = TypeVar("Block")


def run_in_threads(work: Callable[[Block], None], blocks: Iterable[Block]) -> None:
    """Call ``work`` for each block, with as many threads as BLAS would use.

    The number of threads thus follows ``OMP_NUM_THREADS`` and threadpoolctl limits.
    The first error is raised; pending blocks are skipped.
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
    """Reentrant context that limits BLAS to one thread."""

    def __init__(self) -> None:
        self._lock, self._users, self._threads = Lock(), 0, 1
        self._limit: Any = None

    def __enter__(self) -> int:
        """Set the limit on first entry and return the number of threads without it."""
        with self._lock:
            if not self._users:
                blas = _blas()
                counts = [library.num_threads for library in blas.lib_controllers]
                self._threads = max(counts, default=1)
                self._limit = blas.limit(limits=1)
            self._users += 1
            return self._threads

    def __exit__(self, *_: object) -> None:
        """Restore the limit on last exit."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._limit.restore_original_limits()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Return the controller of the loaded BLAS libraries; finding them takes milliseconds."""
    # Loads the BLAS of SciPy, besides that of NumPy.
    import_module("scipy.linalg")
    return ThreadpoolController().select(user_api="blas")


single_threaded_blas = _SingleThreadedBLAS()
"""Context with single-threaded matrix products; may be entered from several threads."""


def default_threads() -> int:
    """Return ``NUMBA_NUM_THREADS``, by default one thread per core.

    Calling numba's own function would start its thread pool and change the number of
    threads of PyTorch, and with it the order of its sums.

    Examples
    --------
    >>> default_threads() >= 1
    True
    """
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
