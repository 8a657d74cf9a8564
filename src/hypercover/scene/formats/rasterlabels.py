"""Label maps in raster files, with the class names and colours they carry."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hypercover.scene.formats import pam, trailer
from hypercover.scene.formats.envi import data_file
from hypercover.scene.formats.raster import Layer, read_layer
from hypercover.scene.formats.signature import Kind, kind_of
from hypercover.scene.formats.styles import raster_style
from hypercover.scene.labels import LabelMap

__all__ = ["read_raster_labels"]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.strip().strip("{}").split(",")]


def _envi_names(tags: Mapping[str, str]) -> dict[int, str]:
    """Names of an ENVI classification by value, 0 included."""
    names = _listed(tags.get("class_names", ""))
    return {code: name for code, name in enumerate(names) if name}


def _hex(red: int, green: int, blue: int) -> str:
    return f"#{red:02x}{green:02x}{blue:02x}"


def _colors(layer: Layer, codes: list[int]) -> dict[int, str]:
    """Colours of the codes that occur, unless they cannot tell them apart."""
    found = {code: _hex(*layer.colors[code]) for code in codes if code in layer.colors}
    grey = all(len(set(layer.colors[code])) == 1 for code in found)
    return {} if grey or len(set(found.values())) < len(found) else found


def read_raster_labels(path: Path) -> LabelMap:
    """Read a label map with names from ENVI, ERDAS or a PAM sidecar, and its colours.

    Those of a style beside it (``.qml``, ``.clr``) come before its colour table.

    Raises
    ------
    SceneError
        If the file is damaged or has more than one band.
    LabelError
        If its values are no class codes.
    """
    layer = read_layer(path)
    data = data_file(path) if kind_of(path) is Kind.ENVI_HEADER else path
    present = [int(code) for code in np.unique(layer.values) if code in layer.colors]
    labels, shades = raster_style(data).by_code()
    names = (
        labels | trailer.read_names(path) | _envi_names(layer.tags) | pam.read_names(data)
    )
    return LabelMap.of(
        layer.values,
        path.name,
        nodata=layer.nodata,
        names=names,
        colors=_colors(layer, present) | shades,
        grid=layer.grid,
        notes=(f"Labels: {path.name}.",),
    )
