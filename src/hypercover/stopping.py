"""Being asked to stop: work that can go on later leaves a checkpoint and stops.

A batch system warns before it ends a job.  Whoever hears the warning calls
`stop_at_signal` or `ask_to_stop`; a long training looks at `stop_asked` now and
then.  Work that does not look is ended a little later and done again.
"""

import signal
import threading
from types import FrameType

__all__ = ["Stopped", "ask_to_stop", "stop_asked", "stop_at_signal"]

_asked = threading.Event()


class Stopped(BaseException):
    """The work was stopped on request and can go on; no error, so nothing catches it."""


def ask_to_stop() -> None:
    """Ask the work of this process to stop where it can go on later."""
    _asked.set()


def stop_asked() -> bool:
    """Tell whether the work of this process was asked to stop."""
    return _asked.is_set()


def stop_at_signal(number: int = signal.SIGTERM) -> None:
    """Take a signal as the request to stop, in the main thread of a process."""

    def asked(_number: int, _frame: FrameType | None) -> None:
        ask_to_stop()

    signal.signal(number, asked)
