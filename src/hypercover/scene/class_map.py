"""Class maps: finished maps of land cover, and reference labels laid on them."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, pixel_hectares
from hypercover.scene.io.file_types import FileType, detect_type, local_file
from hypercover.scene.io.reading import read_label_map
from hypercover.scene.labels import Codes, legend_of, match_classes
from hypercover.scene.legend import Legend, class_colors
from hypercover.scene.metadata import Origin, mark

__all__ = ["ClassMap", "open_class_map"]


@dataclass(frozen=True, eq=False)
class ClassMap:
    """A map of land-cover classes with its legend and its place on Earth."""

    codes: Codes
    """Class codes (y, x); 0 = no data."""
    legend: Legend
    """The classes that occur in the map."""
    grid: Grid
    """Shape and georeference."""
    origin: Origin = field(default_factory=lambda: Origin())
    """What the map says of an image that was not measured."""
    notes: tuple[str, ...] = ()
    """What its codes stand for, where they are not those of its file."""

    @property
    def made_from(self) -> str:
        """Words for an image that was not measured, such as "simulated scene"; else empty."""
        return mark(self.origin)

    @cached_property
    def pixel_areas(self) -> npt.NDArray[np.float64] | None:
        """Hectares of its pixels, (rows, 1) where they differ, or (1, 1); None without a place.

        See :func:`~hypercover.scene.grid.pixel_hectares`.
        """
        return pixel_hectares(self.grid)

    def reference(
        self,
        path: str | Path,
        *,
        variable: str | None = None,
        field: str | None = None,
        layer: str | None = None,
    ) -> tuple[Codes, Legend, tuple[str, ...]]:
        """Read reference labels for this map: a raster on its grid, points or polygons.

        Classes are matched with those of the map by name first, whatever its case, and by
        code where names say nothing (:func:`~hypercover.scene.labels.match_classes`).

        Returns
        -------
        codes : array (y, x), 0 where there is no reference
        legend : the classes of map and reference together
        notes : what was found, and how classes were matched

        Raises
        ------
        LabelError
            If they cannot be read, do not fit the map, or are named otherwise.
        """
        file = local_file(path)
        found = read_label_map(file, self.grid, variable, field, layer)
        matched = match_classes(found, self.legend, "the map")
        own = {code: matched.names[code] for code in matched.names if code}
        present = {int(code) for code in np.unique(matched.codes)} - {0}
        more = Legend.of({code: own.get(code, f"Class {code}") for code in present})
        return matched.codes, _joined(self.legend, more), (*matched.notes, *found.losses)


def open_class_map(path: str | Path) -> ClassMap:
    """Open a class map: a raster of one band of codes, with names where it carries them.

    Raises
    ------
    SceneError
        If the file is damaged or has more than one band.
    LabelError
        If its values are no class codes.
    """
    from hypercover.scene.io.array_files import ARRAY_READERS
    from hypercover.scene.io.raster import read_image, read_raster_labels

    file = local_file(path)
    kind = detect_type(file)
    if kind is FileType.VECTOR or kind in ARRAY_READERS:
        raise SceneError(
            f"A class map must be a raster such as GeoTIFF or ENVI, but {file} is none; "
            "give the map that hypercover wrote."
        )
    found = read_raster_labels(file)
    legend, notes = legend_of(found)
    rows, cols = found.codes.shape
    grid = found.grid or Grid(rows, cols)
    told = () if found.zero is None else (*found.notes[-1:], *notes[-1:])
    return ClassMap(found.codes, legend, grid, read_image(file).origin, told)


def _joined(legend: Legend, more: Legend) -> Legend:
    """Add the classes that a legend lacks, in colours of their own."""
    names = {land.code: land.name for land in (*more, *legend)}
    return Legend.of(names, class_colors(names, {land.code: land.color for land in legend}))
