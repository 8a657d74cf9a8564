"""An image feature: what maps a scene to a scene, having seen every pixel and no label."""

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from hypercover.scene.scene import Scene

__all__ = ["Arrays", "Feature", "Progress", "Settings", "part_of"]

Arrays = dict[str, npt.NDArray[np.generic]]
"""Plain arrays by name: all of a fitted feature that is no setting."""
Settings = dict[str, Any]
"""JSON-able values by name."""
Progress = Callable[[int, int], None]
"""Called with the work done and the work in all, in any unit."""


_SHARES = 1000
"""Units of work a part is counted as, so that progress moves inside it."""


def part_of(progress: Progress | None, place: int, parts: int) -> Progress | None:
    """Return what the part at a place reports to, so that the whole goes up evenly."""
    if progress is None:
        return None

    def report(done: int, total: int) -> None:
        share = done / total if total else 1.0
        progress(int(_SHARES * (place + share)), _SHARES * parts)

    return report


class Feature(Protocol):
    """What every image feature offers.

    Why it exists: a chain, an experiment and a saved model treat kernel PCA
    and attribute profiles alike.  A feature is fitted on all pixels that hold
    data and never sees a label, so it may be fitted before a scene is split.
    """

    @property
    def reach(self) -> int | None:
        """Pixels around a pixel that its value may depend on; None = any distance."""

    def outputs(self, bands: int) -> int:
        """Return how many features it makes at most of so many bands."""

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Learn what has to be learnt from all pixels that hold data.

        One that takes long reports to *progress*; the others leave it alone.
        """

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene with the features as its bands, in float32."""

    def state(self) -> tuple[Settings, Arrays]:
        """Return all that was learnt as JSON-able settings and plain arrays."""

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Return the fitted feature they describe, trusting neither."""
