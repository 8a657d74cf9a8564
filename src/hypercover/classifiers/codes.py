"""Class codes in a JSON document: whole numbers stay exact, names stay names."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError

__all__ = ["codes_from_json", "codes_to_json"]

_MOST_CLASSES = 65_535
_TYPE = re.compile(r"[iu][1248]|f[248]|b1|O|U\d{0,10}")
_KINDS = {"i": int, "u": int, "U": str, "O": str, "b": bool, "f": float}


def codes_to_json(classes: npt.NDArray[Any]) -> dict[str, Any]:
    """Return class codes as a JSON object with their type.

    Examples
    --------
    >>> codes_to_json(np.array([11, 21], dtype=np.uint8))
    {'type': 'u1', 'values': [11, 21]}
    """
    values = classes.tolist()
    known = _KINDS.get(classes.dtype.kind)
    if known is None or not all(isinstance(value, known) for value in values):
        raise ModelError(
            "Only whole numbers and names can be saved as class codes, got "
            f"{classes.dtype} {values[:3]}; use codes such as 1, 2, 3."
        )
    text = classes.dtype.kind == "U"
    return {"type": "U" if text else classes.dtype.str.lstrip("<>|="), "values": values}


def codes_from_json(value: Any, *, ordered: bool = True) -> npt.NDArray[Any]:
    """Return class codes from their JSON object.

    Parameters
    ----------
    value : what `codes_to_json` made
    ordered : bool
        Whether they must rise.  Those of a LIBSVM model stand in the order in
        which it breaks ties.

    Raises
    ------
    ModelError
        If the object is not one that `codes_to_json` makes.
    """
    try:
        written, values = str(value["type"]), value["values"]
        # Other types that NumPy knows would be parsed as code, or ask for any memory.
        dtype = np.dtype(written if _TYPE.fullmatch(written) else "V")
        known = _KINDS[dtype.kind]
        fitting = isinstance(values, list) and all(type(code) is known for code in values)
        # A width from outside is not believed: it could ask for any amount of memory.
        wanted = np.dtype("U") if dtype.kind == "U" else dtype
        classes = np.array(values, dtype=wanted) if fitting else np.empty(0)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            "The class codes of the model are not readable; train it again."
        ) from error
    found = classes.tolist() if ordered else sorted(classes.tolist())
    if not 2 <= len(classes) <= _MOST_CLASSES or found != sorted(set(values)):
        raise ModelError(
            "The class codes of the model must be at least two, different and in order; "
            "train it again."
        )
    return classes
