"""A grey image and coarser bands of one place, found by content where no image holds both."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypercover.errors import HypercoverError
from hypercover.scene.finding import FoundLabels, labels_of
from hypercover.scene.folders import look_through
from hypercover.scene.outline import Outline, outlines
from hypercover.scene.reading import open_scene
from hypercover.scene.registration import register
from hypercover.scene.scene import Scene
from hypercover.scene.wanted import Wanted

__all__ = ["FoundPair", "find_pair"]


@dataclass(frozen=True)
class FoundPair:
    """Two images that can be pansharpened, and the labels of the finer one."""

    pan: Path
    """The grey image."""
    bands: Path
    """The coarser bands."""
    labels: FoundLabels
    """Labels on the grid of the grey image."""


def find_pair(wanted: Wanted, folders: Iterable[Path]) -> FoundPair | None:
    """Look for rasters that make the bands of a scene together, and its labels.

    A grey image of the size of the labels, and bands (one fewer than the scene has) whose
    georeference lays them under it.  Simulated images are passed over.
    """
    arrays = [one for path in look_through(folders).files for one in outlines(path)]
    grey = [one for one in arrays if len(one.shape) == 2 and one.variable is None]
    counts = {count - 1 for count in wanted.bands}
    coarse = [one for one in arrays if one.variable is None and one.shape[2:] in
              {(count,) for count in counts}]  # fmt: skip
    if not coarse:
        return None
    sizes = {(one.shape[0], one.shape[1]) for one in grey}
    for labels in (found for each in arrays for found in labels_of(each, wanted, sizes)):
        for pan in grey:
            if pan.shape == labels.shape and pan.path != labels.path:
                for bands in _under(pan, coarse):
                    return FoundPair(pan.path, bands, labels)
    return None


def _under(pan: Outline, coarse: Iterable[Outline]) -> Iterator[Path]:
    """Go through the images whose grid can be sharpened by a grey image."""
    fine = _measured(pan.path)
    for one in coarse:
        bands = _measured(one.path)
        if fine is None or bands is None:
            continue
        try:
            register(fine.grid, bands.grid)
        except HypercoverError:
            continue
        yield one.path


def _measured(path: Path) -> Scene | None:
    try:
        scene = open_scene(path, False)
    except HypercoverError:
        return None
    return None if scene.simulated or scene.stand_in else scene
