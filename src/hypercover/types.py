"""The types that signatures share: arrays by what they hold, and callbacks of progress."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Numbers of any type."""
Arrays = dict[str, Array]
"""Arrays by name."""
Bytes = npt.NDArray[np.uint8]
"""Unsigned bytes, such as the channels of a picture."""
Codes = npt.NDArray[np.integer]
"""Class codes; 0 is unlabelled."""
Floats = npt.NDArray[np.float64]
"""Double precision."""
Indices = npt.NDArray[np.intp]
"""Positions along an axis."""
Ints = npt.NDArray[np.int64]
"""Counts and other whole numbers."""
Mask = npt.NDArray[np.bool_]
"""True or False."""
Singles = npt.NDArray[np.float32]
"""Single precision."""

Progress = Callable[[int, int], None]
"""Receives how many steps are done and how many there are."""
Report = Callable[[float, str], None]
"""Receives the share that is done, from 0 to 1, and what is being done."""
