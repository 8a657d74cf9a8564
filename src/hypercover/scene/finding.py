"""Finding a scene by its content, whatever its files are called and wherever they lie."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypercover.errors import HypercoverError
from hypercover.scene.folders import look_through
from hypercover.scene.grid import Grid
from hypercover.scene.images import KnownImage, recognise_image
from hypercover.scene.outline import ORDERS, Outline, outlines
from hypercover.scene.reading import open_labels, open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.wanted import Fit, Wanted

__all__ = ["Findings", "FoundImage", "FoundLabels", "find_scene", "labels_of"]

_FEATURE = re.compile(r"(k?pca|mnf)\d+\b|.+ \w+<")
"""Names of bands that are image features."""


@dataclass(frozen=True)
class FoundImage:
    """An image that has the size of a scene."""

    path: Path
    """The file."""
    variable: str | None
    """Which array of the file it is, where it has several."""
    axes: str | None
    """Order of the axes, where the file does not say."""
    shape: tuple[int, int, int]
    """Rows, columns and bands."""
    known: KnownImage | None
    """The published image it is by its values, if it is one."""

    @property
    def stand_in(self) -> bool:
        """Whether it only stands in for the measured image."""
        return self.known is not None and self.known.stand_in


@dataclass(frozen=True)
class FoundLabels:
    """A label map that is one of the scene's."""

    path: Path
    """The file."""
    variable: str | None
    """Which array of the file it is, where it has several."""
    shape: tuple[int, int]
    """Rows and columns."""
    fit: Fit
    """How well it suits."""


@dataclass(frozen=True)
class Findings:
    """What was found of a scene."""

    images: tuple[FoundImage, ...]
    """Those recognised by their values first, stand-ins last."""
    labels: tuple[FoundLabels, ...]
    """The best first."""
    notes: tuple[str, ...]
    """What was passed over, one sentence each."""

    def pair(self, *, stand_in: bool) -> tuple[FoundImage, FoundLabels] | None:
        """Return the best image that is or is not a stand-in, with labels of its size."""
        for image in self.images:
            for labels in self.labels:
                if image.stand_in == stand_in and labels.shape == image.shape[:2]:
                    return image, labels
        return None


def find_scene(wanted: Wanted, folders: Iterable[Path]) -> Findings:
    """Look through folders for the image and the labels of a scene.

    A file that is damaged, unreadable or of something else is passed over.
    Simulated images are none of a measured scene and are passed over as well.
    """
    looked = look_through(folders)
    arrays = [array for path in looked.files for array in outlines(path)]
    images = [image for each in arrays for image in _as_image(each, wanted)]
    sizes = {*wanted.sizes, *(image.shape[:2] for image in images)}
    labels = [found for each in arrays for found in labels_of(each, wanted, sizes)]
    return Findings(
        tuple(sorted(images, key=_image_rank)),
        tuple(sorted(labels, key=lambda found: found.fit.rank)),
        tuple(looked.notes),
    )


def _image_rank(image: FoundImage) -> int:
    return 2 if image.stand_in else int(image.known is None)


def _as_image(outline: Outline, wanted: Wanted) -> Iterator[FoundImage]:
    """Give the image that an array is, if it has the size of the scene."""
    found = [image for image in _readings(outline, wanted) if image is not None]
    # Rows and columns of a square image are told apart by its values, where it is known.
    yield from sorted(found, key=lambda image: image.known is None)[:1]


def _readings(outline: Outline, wanted: Wanted) -> Iterator[FoundImage | None]:
    """Read an array in each order of its axes that gives the size of the scene."""
    if len(outline.shape) != 3:
        return
    for axes in outline.orders or (None,):
        names = (axes or ORDERS[0]).split(",")
        rows, cols, bands = (
            outline.shape[names.index(role)] for role in ("row", "col", "band")
        )
        if wanted.suits(rows, cols, bands):
            yield _opened(outline, axes, (rows, cols, bands))


def _opened(
    outline: Outline, axes: str | None, shape: tuple[int, int, int]
) -> FoundImage | None:
    """Open an image to see whether it is whole, measured and known."""
    try:
        scene = open_scene(outline.path, False, variable=outline.variable, axes=axes)
        known = recognise_image(scene)
    except HypercoverError:
        return None
    if known is None and (scene.simulated or scene.stand_in or _is_stack(scene)):
        return None
    return FoundImage(outline.path, outline.variable, axes, shape, known)


def _is_stack(scene: Scene) -> bool:
    """Tell whether the bands are named as hypercover names image features."""
    return any(_FEATURE.match(name) for name in scene.band_names or ())


def labels_of(
    outline: Outline, wanted: Wanted, sizes: set[tuple[int, int]]
) -> Iterator[FoundLabels]:
    """Give the label map that an array is, if it is one of the scene's."""
    if outline.shape not in sizes:
        return
    rows, cols = outline.shape
    try:
        codes, _ = open_labels(outline.path, Grid(rows, cols), variable=outline.variable)
    except HypercoverError:
        return
    fit = wanted.fit(codes)
    if fit is not None:
        yield FoundLabels(outline.path, outline.variable, (rows, cols), fit)
