"""Every error hypercover raises on purpose.

One root and, below it, the kind of thing that was wrong.  Each kind also
derives from the builtin error a caller would expect, so that
``except ValueError`` keeps working::

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

__all__ = [
    "CallError",
    "ExperimentError",
    "HypercoverError",
    "LabelError",
    "ModelError",
    "OutputError",
    "RunError",
    "SceneError",
    "SplitError",
    "counted",
    "shortened",
]

_LONGEST, _END = 2000, 500
"""Signs of a message that are shown, and how many of them are the last."""


class HypercoverError(Exception):
    """Root of all errors that hypercover raises on purpose.

    A message is cut in the middle where a file put too much into it: what was asked
    stands at its beginning and what to do at its end.
    """

    def __init__(self, *said: object) -> None:
        super().__init__(
            *(
                shortened(one, _LONGEST, _END) if isinstance(one, str) else one
                for one in said
            )
        )


class CallError(HypercoverError, ValueError):
    """What was asked cannot be done as asked."""


class SceneError(CallError):
    """An image cannot be read, is ambiguous, or holds nothing usable."""


class LabelError(CallError):
    """Labels cannot be read, do not fit the image, or name no pixel."""


class SplitError(CallError):
    """No split of the asked kind exists for these labels."""


class ModelError(CallError):
    """A model cannot be built, read, or applied to this input."""


class ExperimentError(CallError):
    """An experiment file has an unknown key, a wrong type or a missing file."""


class OutputError(HypercoverError, OSError):
    """A result cannot be written; nothing half-written is left behind."""


class RunError(HypercoverError, RuntimeError):
    """The work was started rightly and failed on the way."""


def counted(count: int, what: str) -> str:
    """Write a number of things for a sentence, one of them without an s.

    Examples
    --------
    >>> counted(1, "band"), counted(0, "band"), counted(1200, "feature")
    ('1 band', '0 bands', '1,200 features')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(text: str, most: int, end: int = 0) -> str:
    """Return a text of a sane length: what stands in a file may have any.

    Parameters
    ----------
    text : str
    most : int
        Signs that are kept at most, not counting the mark of the cut.
    end : int
        How many of them are taken from the end.

    Examples
    --------
    >>> shortened("abcdef", 6), shortened("abcdefgh", 6), shortened("abcdefgh", 6, end=2)
    ('abcdef', 'abcdef…', 'abcd…gh')
    """
    if len(text) <= most:
        return text
    return f"{text[: most - end]}…{text[len(text) - end :]}"
