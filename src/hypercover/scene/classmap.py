"""Class maps: finished maps of land cover, and reference labels laid on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hypercover.errors import LabelError, SceneError
from hypercover.scene.formats.signature import Kind, kind_of, local_file
from hypercover.scene.grid import Grid
from hypercover.scene.labels import Codes, legend_of
from hypercover.scene.legend import Legend, default_color
from hypercover.scene.origin import Origin, mark
from hypercover.scene.reading import label_map_of

__all__ = ["ClassMap", "open_class_map"]

_WEB_MERCATOR = 3857


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

    @property
    def made_from(self) -> str:
        """Words for an image that was not measured, such as "simulated scene"; else empty."""
        return mark(self.origin)

    @property
    def hectares(self) -> float | None:
        """Hectares of one pixel; None where the map does not say where it lies.

        Raises
        ------
        SceneError
            If its pixels are not of one size on the ground: in degrees, or in Web
            Mercator, whose scale grows with the latitude.
        """
        if self.grid.crs is None or not self.grid.placed:
            return None
        from rasterio.crs import CRS

        crs = CRS.from_wkt(self.grid.crs)
        if crs.is_geographic or crs.to_epsg() == _WEB_MERCATOR:
            what = "in degrees" if crs.is_geographic else "in Web Mercator"
            raise SceneError(
                f"The map is {what}, where pixels differ in area, so that counting them "
                "gives no area; bring it into an equal-area or UTM projection (gdalwarp)."
            )
        _, metres = crs.linear_units_factor
        a, b, _, d, e, _ = self.grid.transform
        return float(abs(a * e - b * d) * metres**2 / 10_000)

    def reference(
        self, path: str | Path, *, variable: str | None = None, field: str | None = None
    ) -> tuple[Codes, Legend, tuple[str, ...]]:
        """Read reference labels for this map: a raster on its grid, points or polygons.

        Names in a vector file are those of the map's classes, whatever their case;
        numbers are its codes.

        Returns
        -------
        codes : array (y, x), 0 where there is no reference
        legend : the classes of map and reference together
        notes : what was found

        Raises
        ------
        LabelError
            If they cannot be read, do not fit the map, or are named otherwise.
        """
        file = local_file(path)
        found = label_map_of(file, self.grid, variable, field)
        if kind_of(file) is Kind.VECTOR and found.names:
            codes, legend, new = self._by_name(found.codes, found.names, file)
        else:
            self._check_names(found.names, file)
            legend = _joined(self.legend, legend_of(found)[0])
            codes, new = (
                found.codes,
                [c for c in legend.names if c not in self.legend.names],
            )
        notes = list(found.notes)
        if new:
            notes.append(f"Classes of the reference that the map lacks: {', '.join(new)}.")
        return codes, legend, tuple(notes)

    def _by_name(
        self, codes: Codes, names: Mapping[int, str], file: Path
    ) -> tuple[Codes, Legend, list[str]]:
        """Give each class of the reference the code that its name has in the map."""
        known = {_folded(land.name): land.code for land in self.legend}
        new = [name for name in names.values() if _folded(name) not in known]
        if len(new) == len(names):
            raise LabelError(
                f"No class of {file} has the name of one of the map, which are "
                f"{', '.join(self.legend.names[:8])}; name the attribute that holds them "
                "with --label-field, or give codes."
            )
        first = max(self.legend.codes) + 1
        known |= {_folded(name): first + at for at, name in enumerate(new)}
        table = np.zeros(max(names) + 1, dtype=np.uint16)
        for code, name in names.items():
            table[code] = known[_folded(name)]
        fresh = {known[_folded(name)]: name for name in new}
        return table[codes], _joined(self.legend, Legend.of(fresh)), new

    def _check_names(self, names: Mapping[int, str], file: Path) -> None:
        """Refuse codes that mean another class of the map than the one of their name."""
        known = {_folded(land.name): land.code for land in self.legend}
        for code, name in names.items():
            there = known.get(_folded(name), code)
            if there != code and code in self.legend:
                raise LabelError(
                    f"Code {code} is {name} in {file}, but {self.legend[code].name} in the "
                    f"map, where {name} is {there}; give the reference the codes of the map."
                )


def open_class_map(path: str | Path) -> ClassMap:
    """Open a class map: a raster of one band of codes, with names where it carries them.

    Raises
    ------
    SceneError
        If the file is damaged or has more than one band.
    LabelError
        If its values are no class codes.
    """
    from hypercover.scene.formats.containers import CONTAINERS
    from hypercover.scene.formats.raster import read_image
    from hypercover.scene.formats.rasterlabels import read_raster_labels

    file = local_file(path)
    kind = kind_of(file)
    if kind is Kind.VECTOR or kind in CONTAINERS:
        raise SceneError(
            f"A class map must be a raster such as GeoTIFF or ENVI, but {file} is none; "
            "give the map that hypercover wrote."
        )
    found = read_raster_labels(file)
    legend, _ = legend_of(found)
    rows, cols = found.codes.shape
    grid = found.grid or Grid(rows, cols)
    return ClassMap(found.codes, legend, grid, read_image(file).origin)


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _joined(legend: Legend, more: Legend) -> Legend:
    """Add the classes that a legend lacks, in colours of their own."""
    fresh = [land for land in more if land.code not in legend]
    names = {land.code: land.name for land in (*legend, *fresh)}
    colors = {land.code: land.color for land in legend}
    at = len(legend)
    colors |= {land.code: default_color(at + step) for step, land in enumerate(fresh)}
    return Legend.of(names, colors)
