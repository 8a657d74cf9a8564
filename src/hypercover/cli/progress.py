"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypercover.cli.terminal import say

_QUIET = 5.0
"""Seconds between plain lines when stderr is no terminal."""


def duration(seconds: float) -> str:
    """Write a duration as people say it.

    Examples
    --------
    >>> duration(7.2), duration(83), duration(7_400)
    ('7 s', '1 min 23 s', '2 h 03 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show one piece of work; call what is given with (done, total)."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from hypercover.cli.tables import new_console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=new_console(stderr=True), transient=True) as progress:
        row = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(row, completed=done, total=total)


def _lines(title: str) -> Callable[[int, int], None]:
    """Return a callback that prints a line now and then, with the time left."""
    began = time.monotonic()
    said = began

    def advance(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < _QUIET or not 0 < done < total:
            return
        said = now
        left = (now - began) / done * (total - done)
        say(f"{title}: {100 * done // total} %, {duration(left)} left", err=True)

    return advance
