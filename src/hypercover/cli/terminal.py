"""What reaches the terminal: text of files, with the signs replaced that steer one.

A name in a file can hold escape sequences that recolour, overwrite or answer for the
user, signs that turn the order of reading, and line breaks that feign a message.
"""

import io
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

_LONGEST_LINE = 4000
"""Signs shown of a line; of a longer one both ends are."""
_STEERING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control signs of ASCII and Latin-1
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


def steered(text: str) -> str:
    """Return text with the signs replaced that steer a terminal; lines stay lines."""
    return _STEERS.sub(_SHOWN_AS, text)


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream below the guard, for what writes colours of its own."""
    return stream.stream if isinstance(stream, _Guard) else stream


def say(*lines: object, err: bool = False) -> None:
    """Print each as one line as it is: a path must stay in one piece to be copied."""
    stream = sys.stderr if err else sys.stdout
    for line in lines:
        print(plain(line), file=stream, flush=True)


class _Guard(io.TextIOBase):
    """A text stream that replaces what would steer a terminal; lines stay lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(steered(text))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    @property
    def buffer(self) -> Any:
        return self.stream.buffer


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
            stack.enter_context(redirect(_Guard(stream)))
        yield


class PlainFormatter(logging.Formatter):
    """Messages of a log as one line each; a traceback below keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message as one line."""
        return plain(super().formatMessage(record))
