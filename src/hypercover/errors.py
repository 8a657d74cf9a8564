"""The exceptions that hypercover raises on purpose.

Each also derives from the builtin exception a caller would expect, so that
``except ValueError`` works::

    HypercoverError
    ├── CallError (ValueError)        the call itself was wrong: exit code 2
    │   ├── SceneError                an image that cannot be read or used
    │   ├── LabelError                labels that cannot be read or used
    │   ├── SplitError                a split that cannot be made
    │   ├── ModelError                a model that does not fit its input
    │   └── ExperimentError           an experiment file that is not valid
    ├── OutputError (OSError)         a result that cannot be written: exit code 2
    └── RunError (RuntimeError)       the work itself failed: exit code 1

A message says what was asked, what was found and what to do, in one sentence.
"""

from typing import Any

_LONGEST, _END = 2000, 500
"""Longest message in characters, and how many of them are taken from its end."""


class HypercoverError(Exception):
    """Root of all exceptions that hypercover raises on purpose.

    A message that became too long, because it quotes a file, is cut in the middle.

    Examples
    --------
    >>> from hypercover.splits import RandomSplit
    >>> try:
    ...     RandomSplit(train=2.5)
    ... except HypercoverError as error:
    ...     print(type(error).__name__, isinstance(error, ValueError))
    SplitError True
    """

    def __init__(self, *args: object) -> None:
        super().__init__(
            *(shorten(arg, _LONGEST, _END) if isinstance(arg, str) else arg for arg in args)
        )


class CallError(HypercoverError, ValueError):
    """The call itself was wrong."""


class SceneError(CallError):
    """An image cannot be read, is ambiguous, or has no usable content."""


class LabelError(CallError):
    """Labels cannot be read, do not fit the image, or label no pixel."""


class SplitError(CallError):
    """These labels cannot be split in the requested way."""


class ModelError(CallError):
    """A model cannot be built, read, or applied to this input."""


class ExperimentError(CallError):
    """An experiment file has an unknown key, a wrong type or a missing file."""


class OutputError(HypercoverError, OSError):
    """A result cannot be written; no incomplete file is left behind."""


class RunError(HypercoverError, RuntimeError):
    """The call was right, but the work failed."""


def counted(count: int, what: str) -> str:
    """Write a number with its noun in the singular or plural.

    Examples
    --------
    >>> counted(1, "band"), counted(0, "band"), counted(1200, "feature")
    ('1 band', '0 bands', '1,200 features')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def first_fault(error: Any) -> str:
    """Describe the first entry of a document that a pydantic model refuses: place and reason.

    Examples
    --------
    >>> from pydantic import TypeAdapter, ValidationError
    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"rows": "many"})
    ... except ValidationError as error:
    ...     print(first_fault(error))
    rows: input should be a valid integer, unable to parse string as an integer
    """
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step)[:40] for step in fault["loc"]) or "the whole file"
    reason = fault["msg"].removeprefix("Value error, ").rstrip(".")[:200]
    return f"{place[:100]}: {reason[:1].lower()}{reason[1:]}"


def shorten(text: str, most: int, end: int = 0) -> str:
    """Shorten a text, such as one quoted from a file, by an ellipsis.

    Parameters
    ----------
    text : str
    most : int
        Longest length in characters, without the ellipsis.
    end : int
        How many of them are taken from the end.

    Examples
    --------
    >>> shorten("abcdef", 6), shorten("abcdefgh", 6), shorten("abcdefgh", 6, end=2)
    ('abcdef', 'abcdef…', 'abcd…gh')
    """
    if len(text) <= most:
        return text
    return f"{text[: most - end]}…{text[len(text) - end :]}"
