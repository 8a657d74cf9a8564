"""EnMAP L1C and L2A: a GeoTIFF, and what its bands are in an XML file beside it."""

from pathlib import Path

import numpy as np

from hypercover.errors import SceneError
from hypercover.scene.formats.plainxml import numbers_of, plain_xml
from hypercover.scene.formats.raster import read_image
from hypercover.scene.scene import Scene
from hypercover.scene.spectral import BandTable

__all__ = ["read_enmap"]

_METADATA = "METADATA.XML"
_IMAGES = ("SPECTRAL_IMAGE.TIF", "SPECTRAL_IMAGE.tif")


def _image_beside(metadata: Path) -> Path:
    """Return the image that a file of metadata belongs to.

    Raises
    ------
    SceneError
        If it is not beside it.
    """
    stem = metadata.name[: -len(_METADATA)]
    for name in _IMAGES:
        found = metadata.with_name(stem + name)
        if found.is_file():
            return found
    raise SceneError(
        f"There is no image {stem}{_IMAGES[0]} beside {metadata}; put the files of the product "
        "into one folder."
    )


def read_enmap(metadata: Path, variable: str | None = None) -> Scene:
    """Open an EnMAP image of level 1C or 2A with wavelengths and widths of its bands.

    Values stay the numbers of the file; gain and offset of the first band are told in the
    notes.

    Raises
    ------
    SceneError
        If a file is missing or damaged, or the metadata are of other bands.
    """
    if variable is not None:
        raise SceneError("An EnMAP image has one variable; leave --variable out.")
    root = plain_xml(metadata)
    bands = root.findall("specific/bandCharacterisation/bandID")
    scene = read_image(_image_beside(metadata))
    if len(bands) != scene.n_bands:
        raise SceneError(
            f"{metadata} describes {len(bands)} bands, but the image beside it has "
            f"{scene.n_bands}; put together the files of one product."
        )
    columns = {
        name: np.array(
            numbers_of([one for band in bands for one in band.findall(name)], metadata)
        )
        for name in ("wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand")
    }
    centres, widths, gains, offsets = columns.values()
    if len(centres) != len(bands) or (centres <= 0).any():
        raise SceneError(
            f"{metadata} lacks the wavelengths of its bands; download it again."
        )
    known = len(widths) == len(bands)
    table = BandTable(centres, widths if known else None)
    scene = scene.replace(cube=table.on(scene.cube), source=str(metadata))
    notes = [f"EnMAP: wavelengths of {len(bands)} bands from {metadata.name}."]
    if len(gains) and len(offsets):
        notes.append(f"Physical value of band 1: {gains[0]:g} × number + {offsets[0]:g}.")
    return scene.noting(*notes)
