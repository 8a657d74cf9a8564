"""Requests to stop: resumable work writes a checkpoint and stops.

A batch system sends a signal before it ends a job.  `stop_on_signal` turns the signal
into a request; a long training polls it with `stop_requested`.  Work that does not poll
is killed a little later and repeated.
"""

import signal
import threading

_requested = threading.Event()


class Stopped(BaseException):
    """The work was stopped on request and can be resumed; not an `Exception`, like Ctrl-C."""


def request_stop() -> None:
    """Request that this process stops at its next checkpoint."""
    _requested.set()


def stop_requested() -> bool:
    """Tell whether this process was requested to stop."""
    return _requested.is_set()


def stop_on_signal(number: int = signal.SIGTERM) -> None:
    """Treat a signal as a request to stop; call it in the main thread."""
    signal.signal(number, lambda _number, _frame: request_stop())
