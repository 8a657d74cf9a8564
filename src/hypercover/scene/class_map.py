"""Class maps: classified land-cover maps, and reference labels on their grid."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid, pixel_hectares
from hypercover.scene.io.file_types import FileType, detect_type, local_file
from hypercover.scene.io.reading import read_label_map
from hypercover.scene.labels import legend_of, match_classes
from hypercover.scene.legend import Legend, class_colors
from hypercover.scene.metadata import Origin, origin_label
from hypercover.types import Codes, Floats


@dataclass(frozen=True, eq=False)
class ClassMap:
    """A map of land-cover classes with its legend and georeference."""

    codes: Codes
    """Class codes (y, x); 0 = no data."""
    legend: Legend
    """The classes that occur in the map."""
    grid: Grid
    """Shape and georeference."""
    origin: Origin = field(default_factory=lambda: Origin())
    """Whether the map was made from a simulated or stand-in image."""
    notes: tuple[str, ...] = ()
    """How codes of the file were changed."""

    @property
    def made_from(self) -> str:
        """Description of an image that was not measured, such as "simulated scene"."""
        return origin_label(self.origin)

    @cached_property
    def pixel_areas(self) -> Floats | None:
        """Hectares of its pixels, see :func:`~hypercover.scene.grid.pixel_hectares`."""
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

        Their classes are matched with those of the map
        (:func:`~hypercover.scene.labels.match_classes`).

        Returns
        -------
        codes : array of unsigned int, shape (y, x)
            0 = no reference.
        legend : Legend
            The classes of map and reference.
        notes : tuple of str
            How classes were matched, and labels that were lost.

        Raises
        ------
        LabelError
            If they cannot be read, do not fit the map, or are named otherwise.
        """
        file = local_file(path)
        labels = read_label_map(file, self.grid, variable, field, layer)
        matched = match_classes(labels, self.legend, "the map")
        codes = np.unique(matched.codes[matched.codes > 0]).tolist()
        names = {code: matched.names.get(code, f"Class {code}") for code in codes}
        names |= {item.code: item.name for item in self.legend}
        own = {item.code: item.color for item in self.legend}
        legend = Legend.of(names, class_colors(names, own))
        return matched.codes, legend, (*matched.notes, *labels.losses)


def open_class_map(path: str | Path) -> ClassMap:
    """Open a class map: a raster with one band of class codes, and names if it has any.

    Parameters
    ----------
    path : path
        Any raster that :func:`~hypercover.open_scene` reads.

    Raises
    ------
    SceneError
        If the file is damaged or has more than one band.
    LabelError
        If its values are not class codes.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from hypercover.scene.io.writing import write_labels
    >>> legend = Legend.of({1: "Corn", 2: "Oats"})
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "map.tif"
    ...     _ = write_labels(np.array([[1, 2]], np.uint8), legend, Grid(1, 2), path)
    ...     open_class_map(path).legend.names
    ('Corn', 'Oats')
    """
    from hypercover.scene.io.array_files import ARRAY_READERS
    from hypercover.scene.io.raster import read_image, read_raster_labels

    file = local_file(path)
    kind = detect_type(file)
    if kind is FileType.VECTOR or kind in ARRAY_READERS:
        raise SceneError(
            f"A class map must be a raster such as GeoTIFF or ENVI, and {file} is not; give "
            "the map that hypercover wrote."
        )
    labels = read_raster_labels(file)
    legend, notes = legend_of(labels)
    grid = labels.grid or Grid(*labels.codes.shape)
    on_zero = () if labels.zero is None else (*labels.notes[-1:], *notes[-1:])
    return ClassMap(labels.codes, legend, grid, read_image(file).origin, on_zero)
