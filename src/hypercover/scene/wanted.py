"""Scenes that are looked for by their content: size, bands and labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.scene.catalog import INDIAN_PINES, USUAL_BANDS, known_map, recognise

__all__ = ["WANTED", "Fit", "Wanted"]

Labels = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Fit:
    """How well a label map suits a scene."""

    rank: int
    """0 is best."""
    title: str
    """What it is."""


@dataclass(frozen=True)
class Wanted:
    """What an image and its labels must be like to be taken for a scene."""

    title: str
    """Name of the scene."""
    sizes: tuple[tuple[int, int], ...]
    """Rows and columns it is known with; empty: any."""
    bands: tuple[int, ...]
    """Numbers of bands it is known with."""
    fit: Callable[[Labels], Fit | None]
    """Tells whether a label map (y, x) is one of the scene's."""

    def suits(self, rows: int, cols: int, bands: int) -> bool:
        """Tell whether an image of this shape can be the scene."""
        return bands in self.bands and (not self.sizes or (rows, cols) in self.sizes)


def _counts(labels: Labels) -> list[int]:
    """Return the labelled pixels of each class, the largest class first."""
    return sorted(np.unique(labels[labels > 0], return_counts=True)[1].tolist())[::-1]


def _indian_pines(labels: Labels) -> Fit | None:
    """Take the corrected ground truth, or else that of Site 3, both pixel by pixel."""
    known = recognise(labels)
    if known is None or known.scene != "indian-pines" or not known.is_exactly(labels):
        return None
    order = [10_249, 10_366]
    total = sum(known.counts.values())
    return Fit(order.index(total), known.title) if total in order else None


_FULL_CLASSES = (40, 64)


def _full(labels: Labels) -> Fit | None:
    """Take a map of about as many classes; the published total says more."""
    counts = _counts(labels)
    if not _FULL_CLASSES[0] <= len(counts) <= _FULL_CLASSES[1]:
        return None
    whole = sum(known_map("Indian Pines flight line").counts.values())
    published = (len(counts), sum(counts)) == (58, whole)
    what = "the published number" if published else f"the published map has {whole:,}"
    return Fit(
        0 if published else 1,
        f"{len(counts)} classes, {sum(counts):,} labelled pixels ({what})",
    )


def _rome(labels: Labels) -> Fit | None:
    """Take the map whose nine classes have the published numbers of pixels.

    Source: Cavallaro et al., JSTARS 2015, training and test together.
    """
    known = recognise(labels)
    return Fit(0, known.title) if known is not None and known.scene == "rome" else None


WANTED: Mapping[str, Wanted] = {
    "indian-pines": Wanted(
        "Indian Pines", (INDIAN_PINES,), (len(USUAL_BANDS), 220), _indian_pines
    ),
    "indian-pines-full": Wanted(
        "Full Indian Pines", ((1417, 617), (2678, 614)), (len(USUAL_BANDS), 220), _full
    ),
    "rome": Wanted("Rome", (), (5,), _rome),
}
"""Scenes of the named experiments, by their key in the catalogue where they have one."""
