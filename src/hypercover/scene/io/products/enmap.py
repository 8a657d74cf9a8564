"""EnMAP L1C and L2A: an image, and an XML file with its metadata."""

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from hypercover.errors import SceneError
from hypercover.files import find_ignoring_case
from hypercover.scene.io.raster import read_image
from hypercover.scene.io.safe_parsers import element_numbers, parse_xml
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import BandTable
from hypercover.types import Floats

_METADATA = "METADATA.XML"
_IMAGES = tuple(
    f"SPECTRAL_IMAGE{kind}.{suffix}"
    for suffix in ("TIF", "TIFF", "BSQ", "BIL", "BIP", "IMG", "DAT", "JP2")
    for kind in ("", "_COG")
)
"""Names of the image in DLR's archive and in its catalogue; their case does not matter."""


def _image_of(metadata: Path) -> Path:
    stem = metadata.name[: -len(_METADATA)]
    for name in _IMAGES:
        image = find_ignoring_case(metadata.with_name(stem + name))
        if image is not None and image.is_file():
            return image
    raise SceneError(
        f"There is no image {stem}{_IMAGES[0]} next to {metadata}; put the files of the "
        "product into one folder."
    )


def read_enmap(metadata: Path, variable: str | None = None) -> Scene:
    """Open an EnMAP image of level 1C or 2A with wavelengths and widths of its bands.

    Values are those of the file; gains and offsets are in the header, those of the first
    band also in the notes. Bands without data are dropped.

    Raises
    ------
    SceneError
        If a file is missing or damaged, or the metadata describe other bands.
    """
    if variable is not None:
        raise SceneError("An EnMAP image has one variable; leave --variable out.")
    root = parse_xml(metadata)
    bands = root.findall("specific/bandCharacterisation/bandID")
    scene = read_image(_image_of(metadata))
    if len(bands) != scene.n_bands:
        raise SceneError(
            f"{metadata} describes {len(bands)} bands, but the image next to it has "
            f"{scene.n_bands}; put the files of one product together."
        )
    centres, widths, gains, offsets = (
        _column(bands, name, metadata)
        for name in ("wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand")
    )
    if len(centres) != len(bands) or (centres <= 0).any():
        raise SceneError(
            f"{metadata} lacks the wavelengths of its bands; download it again."
        )
    cube = BandTable(centres, widths if len(widths) == len(bands) else None).on(scene.cube)
    time = root.findtext("base/temporalCoverage/startTime")
    header = product_header("EnMAP HSI", time, gains, offsets)
    notes = [f"EnMAP: wavelengths of {len(bands)} bands from {metadata.name}."]
    if len(gains):
        first = offsets[0] if len(offsets) else 0.0
        notes.append(f"Physical value of band 1: {gains[0]:g} × number + {first:g}.")
    scene = scene.replace(cube=with_header(cube, header), source=str(metadata))
    return _without_empty(scene.noting(*notes), root)


def _column(bands: list[Element], name: str, metadata: Path) -> Floats:
    """Return the numbers of all bands under one name; empty elements are skipped."""
    elements = [
        one for band in bands for one in band.findall(name) if (one.text or "").strip()
    ]
    return np.array(element_numbers(elements, metadata))


def _without_empty(scene: Scene, root: Element) -> Scene:
    """Drop the bands without data, such as those of water vapour in level 2A.

    A pixel is masked where one band holds no data: these bands would mask all pixels.
    """
    deviations = root.findall("product/bandStatistics/bandID/stdDeviation")
    if len(deviations) != scene.n_bands:
        return scene
    used = [at for at, one in enumerate(deviations) if not _is_zero(one.text)]
    if len(used) in (0, scene.n_bands):
        return scene
    dropped = sorted(set(range(scene.n_bands)) - set(used))
    listed = ", ".join(str(at + 1) for at in dropped)
    return scene.take_bands(used).noting(f"Bands without data were dropped: {listed}.")


def _is_zero(text: str | None) -> bool:
    try:
        return float(text or "nan") == 0
    except ValueError:
        return False
