"""Sentinel-2 L1C and L2A: a ``.SAFE`` folder with a JPEG 2000 file for each band."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree.ElementTree import Element

from hypercover.errors import SceneError
from hypercover.files import find_ignoring_case
from hypercover.scene.io.products.band_files import BandFile, stack_bands
from hypercover.scene.io.safe_parsers import parse_xml
from hypercover.scene.metadata import product_header, with_header
from hypercover.scene.scene import Scene

_RESOLUTIONS = ("R10m", "R20m", "R60m")
_BAND = re.compile(r".*_(B\d[\dA])(?:_\d\dm)?\.jp2", re.IGNORECASE)
_KNOWN = {
    "B01": (442.7, 60), "B02": (492.4, 10), "B03": (559.8, 10), "B04": (664.6, 10),
    "B05": (704.1, 20), "B06": (740.5, 20), "B07": (782.8, 20), "B08": (832.8, 10),
    "B8A": (864.7, 20), "B09": (945.1, 60), "B10": (1373.5, 60), "B11": (1613.7, 20),
    "B12": (2202.4, 20),
}  # fmt: skip
"""Centre in nm (of Sentinel-2A, where the metadata have none) and pixel size in m."""


def read_sentinel2(metadata: Path, variable: str | None = None) -> Scene:
    """Open the bands of one resolution of a Sentinel-2 image.

    Values are those of the files; the notes tell how to convert them to reflectance.

    Parameters
    ----------
    metadata : path
        ``MTD_MSIL2A.xml`` or ``MTD_MSIL1C.xml`` in the ``.SAFE`` folder.
    variable : {"R10m", "R20m", "R60m"}, optional
        Resolution; 10 m (bands 2, 3, 4 and 8) by default.

    Raises
    ------
    SceneError
        If files are missing or damaged, or the resolution is unknown.
    """
    resolution = variable or _RESOLUTIONS[0]
    if resolution not in _RESOLUTIONS:
        raise SceneError(
            f"Sentinel-2 has bands of three resolutions, got --variable {resolution}; choose "
            f"one of {', '.join(_RESOLUTIONS)}."
        )
    root = parse_xml(metadata)
    centres = _centres(root)
    files = [
        BandFile(path, name, centres.get(name, _KNOWN[name][0]))
        for name, path in _bands(metadata.parent, resolution).items()
    ]
    files.sort(key=lambda file: file.wavelength)
    if not files:
        raise SceneError(
            f"There is no band of {resolution} in {metadata.parent}/GRANULE; download the "
            "whole .SAFE folder, with one granule."
        )
    names = [file.name for file in files]
    return Scene(
        with_header(stack_bands(files, 0.0), _header(root, names)),
        name=metadata.parent.stem,
        source=str(metadata),
        notes=(f"Sentinel-2: {resolution}, bands {', '.join(names)}.", *_scale_note(root)),
    )


def _bands(folder: Path, resolution: str) -> dict[str, Path]:
    """Find the files of the bands by name; paths in the XML are never followed."""
    parent = find_ignoring_case(folder / "GRANULE")
    inner = sorted(parent.iterdir()) if parent is not None and parent.is_dir() else []
    image_folders = (find_ignoring_case(one / "IMG_DATA") for one in inner if one.is_dir())
    granules = [one for one in image_folders if one is not None and one.is_dir()]
    if len(granules) > 1:
        raise SceneError(
            f"{folder} holds {len(granules)} granules; give a product with one (since 2016)."
        )
    metres = int(resolution[1:3])
    bands = {}
    for images in granules:
        inside = find_ignoring_case(images / resolution) or images / resolution
        for path in sorted((inside if inside.is_dir() else images).iterdir()):
            match = _BAND.fullmatch(path.name)
            name = match[1].upper() if match else ""
            # Level 1C has all resolutions in one folder.
            if name in _KNOWN and (inside.is_dir() or _KNOWN[name][1] == metres):
                bands[name] = path
    return bands


def _centres(root: Element) -> dict[str, float]:
    """Return the centre of each band in nm; the metadata write B1 for B01."""
    centres = {}
    for one in root.iter("Spectral_Information"):
        name, text = one.get("physicalBand", ""), one.findtext("Wavelength/CENTRAL")
        if re.fullmatch(r"B\d[\dA]?", name) and text:
            try:
                centres[name if len(name) == 3 else f"B0{name[1:]}"] = float(text)
            except ValueError:
                continue
    return {name: nm for name, nm in centres.items() if 300 < nm < 3000}


def _text(root: Element, *tags: str) -> str | None:
    """Return the text of the first element with one of these tags."""
    return next((one.text for tag in tags for one in root.iter(tag)), None)


def _scale_note(root: Element) -> tuple[str, ...]:
    quantity = _text(root, "BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    offset = _text(root, "BOA_ADD_OFFSET", "RADIO_ADD_OFFSET") or "0"
    return (f"Reflectance: (number + {offset}) / {quantity}.",) if quantity else ()


def _header(root: Element, names: Sequence[str]) -> dict[str, str]:
    """Return sensor, time, and gain and offset of each band, which are numbered from 0."""
    quantity = _text(root, "BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    gains: list[float] = []
    offsets: list[float] = []
    with suppress(ValueError, ZeroDivisionError):
        numbers = list(_KNOWN)
        added = {
            one.get("band_id"): float(one.text or "")
            for tag in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
            for one in root.iter(tag)
        }
        divisor = float(quantity or "0")
        offsets = [added.get(str(numbers.index(name)), 0.0) / divisor for name in names]
        gains = [1 / divisor] * len(names)
    sensor = f"{_text(root, 'SPACECRAFT_NAME') or 'Sentinel-2'} MSI"
    return product_header(sensor, _text(root, "PRODUCT_START_TIME"), gains, offsets)
