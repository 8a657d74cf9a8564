"""What reaches the terminal: text with its control characters replaced, and progress.

A name in a file can hold escape sequences that recolour, overwrite or answer for the
user, characters that turn the order of reading, and line breaks that feign a message.
Progress is a bar on a terminal and plain lines elsewhere.
"""

import io
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich import progress
    from rich.console import Console
    from rich.segment import Segment

    from hypercover.jobs.runner import Event
    from hypercover.types import Progress

_BAR_INTERVAL, _EVENT_INTERVAL = 5.0, 10.0
"""Seconds between plain lines of progress: of one piece of work, and of a plan."""
_LONGEST_LINE = 4000
"""Characters shown of a line; of a longer one both ends are."""
_STEERING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters of ASCII and Latin-1
    "\xad\u061c\u180e\u200b-\u200f\u2060-\u206f\ufeff\ufff9-\ufffb"  # of no width
    "\u2028\u2029\u202a-\u202e"  # ends of lines and changes of direction
    "\ud800-\udfff\U000e0000-\U000e007f"  # no characters, and tags
)
_STEERS = re.compile(f"[{_STEERING}]")
_BREAKS_OR_STEERS = re.compile(f"[\t\n{_STEERING}]")
_SHOWN_AS = "\N{REPLACEMENT CHARACTER}"


def plain(text: object, longest: int = _LONGEST_LINE) -> str:
    r"""Return text as one line that a terminal shows and does not obey.

    Examples
    --------
    >>> plain("corn\x1b[2Jfield")
    'corn�[2Jfield'
    >>> plain("a" * 12, longest=7)
    'aaa…aaa'
    """
    line = _BREAKS_OR_STEERS.sub(_SHOWN_AS, str(text))
    if len(line) <= longest:
        return line
    half = (longest - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


def harmless(text: str) -> str:
    """Return text without characters that steer a terminal; lines stay lines."""
    return _STEERS.sub(_SHOWN_AS, text)


def say(*lines: object, err: bool = False) -> None:
    """Print each as one line as it is: a path must stay in one piece to be copied."""
    stream = sys.stderr if err else sys.stdout
    for line in lines:
        print(plain(line), file=stream, flush=True)


class _Guard:
    """A text stream that replaces what would steer a terminal; lines stay lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(harmless(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard stdout and stderr, whoever writes there."""
    with ExitStack() as stack:
        for stream, redirect in (
            (sys.stdout, redirect_stdout),
            (sys.stderr, redirect_stderr),
        ):
            # A terminal that cannot show "×" shows "?" and loses nothing else.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
            stack.enter_context(redirect(cast(TextIO, _Guard(stream))))
        yield


class PlainFormatter(logging.Formatter):
    """Messages of a log as one line each; a traceback below keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message as one line."""
        return plain(super().formatMessage(record))


def new_console(*, stderr: bool = False, **options: Any) -> "Console":
    """Return a console for stdout or stderr; text in it cannot steer the terminal."""
    from rich.console import Console

    class PlainConsole(Console):
        """A console whose own colours and movements alone reach the terminal."""

        def render(self, *arguments: Any, **settings: Any) -> "Iterator[Segment]":
            for segment in super().render(*arguments, **settings):
                text = segment.text if segment.control else harmless(segment.text)
                yield segment._replace(text=text)

    stream = sys.stderr if stderr else sys.stdout
    # Below the guard, as it writes colours of its own.
    stream = stream.stream if isinstance(stream, _Guard) else stream
    return PlainConsole(file=stream, highlight=False, **options)


def duration(seconds: float) -> str:
    """Write a duration in words.

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
def bar(title: str) -> "Iterator[Progress]":
    """Show the progress of one piece of work."""
    if not sys.stderr.isatty():
        yield _bar_lines(title)
        return
    from rich.progress import TextColumn, TimeRemainingColumn

    more = TextColumn("left"), TimeRemainingColumn()
    with progress_bar("{task.description}", *more) as shown:
        row = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(row, completed=done, total=total)


def progress_bar(
    description: str, *columns: "progress.ProgressColumn"
) -> "progress.Progress":
    """Return a bar on stderr with a description before it, and columns after the time."""
    from rich import progress

    return progress.Progress(
        progress.TextColumn(description),
        progress.BarColumn(),
        progress.TextColumn("{task.percentage:3.0f} %"),
        progress.TimeElapsedColumn(),
        *columns,
        console=new_console(stderr=True),
        transient=True,
    )


def _bar_lines(title: str) -> "Progress":
    """Return a callback that prints a line now and then, with the time left."""
    began = printed = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= _BAR_INTERVAL and 0 < done < total:
            printed = now
            left = duration((now - began) / done * (total - done))
            say(f"{title}: {100 * done // total} %, {left} left", err=True)

    return advance


def event_lines(describe: "Callable[[Event], str]") -> "Callable[[Event], None]":
    """Return a callback that prints a line for each task that ends, and now and then.

    ``describe`` says how a task ended.
    """
    printed = time.monotonic()

    def watch(event: "Event") -> None:
        nonlocal printed
        ends = event.what in ("done", "failed", "skipped")
        late = event.what == "progress" and time.monotonic() - printed >= _EVENT_INTERVAL
        if ends or late:
            printed = time.monotonic()
            text = f"{event.task}: {describe(event) if ends else event.message}"
            line = ", ".join(filter(None, (text, time_left(event))))
            say(f"[{100 * event.done:3.0f} %] {line}", err=True)

    return watch


def time_left(event: "Event") -> str:
    """Write how long a plan will still take, if that can be told."""
    return "" if event.seconds_left is None else f"{duration(event.seconds_left)} left"
