"""EnMAP L1C and L2A: an image, and what its bands are in an XML file beside it."""

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from hypercover.errors import SceneError
from hypercover.files import in_any_case
from hypercover.scene.io.raster import read_image
from hypercover.scene.io.safe_parsers import element_numbers, parse_xml
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import BandTable, Values

__all__ = ["read_enmap"]

_METADATA = "METADATA.XML"
_IMAGES = tuple(
    f"SPECTRAL_IMAGE{kind}.{suffix}"
    for suffix in ("TIF", "TIFF", "BSQ", "BIL", "BIP", "IMG", "DAT", "JP2")
    for kind in ("", "_COG")
)
"""As the archive of the DLR delivers them, and as its catalogue does, in any case."""


def _image_beside(metadata: Path) -> Path:
    """Return the image that a file of metadata belongs to.

    Raises
    ------
    SceneError
        If it is not beside it.
    """
    stem = metadata.name[: -len(_METADATA)]
    for name in _IMAGES:
        found = in_any_case(metadata.with_name(stem + name))
        if found is not None and found.is_file():
            return found
    raise SceneError(
        f"There is no image {stem}{_IMAGES[0]} beside {metadata}; put the files of the product "
        "into one folder."
    )


def read_enmap(metadata: Path, variable: str | None = None) -> Scene:
    """Open an EnMAP image of level 1C or 2A with wavelengths and widths of its bands.

    Values stay the numbers of the file; gain and offset of the first band are told in the
    notes, those of all in the header.  Bands that hold no data are left out.

    Raises
    ------
    SceneError
        If a file is missing or damaged, or the metadata are of other bands.
    """
    if variable is not None:
        raise SceneError("An EnMAP image has one variable; leave --variable out.")
    root = parse_xml(metadata)
    bands = root.findall("specific/bandCharacterisation/bandID")
    scene = read_image(_image_beside(metadata))
    if len(bands) != scene.n_bands:
        raise SceneError(
            f"{metadata} describes {len(bands)} bands, but the image beside it has "
            f"{scene.n_bands}; put together the files of one product."
        )
    centres, widths, gains, offsets = (
        _column(bands, name, metadata)
        for name in ("wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand")
    )
    if len(centres) != len(bands) or (centres <= 0).any():
        raise SceneError(
            f"{metadata} lacks the wavelengths of its bands; download it again."
        )
    known = len(widths) == len(bands)
    cube = BandTable(centres, widths if known else None).on(scene.cube)
    moment = root.findtext("base/temporalCoverage/startTime")
    header = product_header("EnMAP HSI", moment, gains, offsets)
    notes = [f"EnMAP: wavelengths of {len(bands)} bands from {metadata.name}."]
    if len(gains):
        first = offsets[0] if len(offsets) else 0.0
        notes.append(f"Physical value of band 1: {gains[0]:g} × number + {first:g}.")
    scene = scene.replace(cube=with_header(cube, header), source=str(metadata))
    return _without_empty(scene.noting(*notes), root)


def _column(bands: list[Element], name: str, metadata: Path) -> Values:
    """Return what stands under a name of each band; an empty element says nothing."""
    found = [
        one for band in bands for one in band.findall(name) if (one.text or "").strip()
    ]
    return np.array(element_numbers(found, metadata))


def _without_empty(scene: Scene, root: Element) -> Scene:
    """Leave out the bands in which no pixel holds data, as in the vapour of level 2A.

    A pixel is masked where one band holds no data: these would mask all.
    """
    spread = [
        one.text for one in root.findall("product/bandStatistics/bandID/stdDeviation")
    ]
    if len(spread) != scene.n_bands:
        return scene
    kept = [at for at, text in enumerate(spread) if not _is_zero(text)]
    left = sorted(set(range(scene.n_bands)) - set(kept))
    if not left or not kept:
        return scene
    listed = ", ".join(str(at + 1) for at in left)
    return scene.take_bands(kept).noting(f"Bands without data were left out: {listed}.")


def _is_zero(text: str | None) -> bool:
    try:
        return float(text or "nan") == 0
    except ValueError:
        return False
