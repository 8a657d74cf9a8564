"""Exports: networks as ONNX, and class maps cleaned, as polygons or as STAC items."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.classifiers.bundle import Bundle, load_bundle
from hypercover.errors import CallError, ModelError, counted
from hypercover.experiment.results.run_folder import check_map
from hypercover.files import check_writable, remove_abandoned_drafts
from hypercover.gis.cleaning import Cleaning
from hypercover.gis.map_writing import write_class_map
from hypercover.gis.polygons import DRIVERS, write_polygons
from hypercover.gis.stac import MapFacts, write_stac_item
from hypercover.prediction.map_prediction import legend_from_card
from hypercover.scene.class_map import open_class_map
from hypercover.scene.legend import MAX_CODE
from hypercover.scene.selection import read_area
from hypercover.types import Progress

_CARRIED = ("bands", "band_names", "wavelengths", "fwhm", "scale", "offset", "value_ranges")
"""What an ONNX file takes over from the card of the model."""


def export_onnx(model: Path, out: Path) -> float | None:
    """Write a kept network as an ONNX file that says what it takes and gives.

    Parameters
    ----------
    model : folder of the bundle
    out : file to write, with the suffix .onnx

    Returns
    -------
    largest difference of two probabilities between file and model
        On a random tile; None where ONNX Runtime is not installed.

    Raises
    ------
    CallError
        If the name has another suffix, or the packages for ONNX are not installed.
    ModelError
        If the bundle is damaged, is no network or is one on image features.
    RunError
        If ONNX Runtime gives other probabilities than the model.
    OutputError
        If the file cannot be written.
    """
    if check_writable(out).suffix.lower() != ".onnx":
        raise CallError(f"ONNX is to be written to {out}; give it the suffix .onnx.")
    # Of any machine: a graph holds no more than a tile of it takes.
    bundle = load_bundle(model, device="cpu")
    _check_network(bundle, model)
    metadata = {
        "classes": _classes(bundle),
        **{name: bundle.card.get(name) for name in _CARRIED},
        "weights_sha256": bundle.weights_sha256,
    }
    from hypercover.classifiers.cnn.onnx_export import write_onnx

    return write_onnx(bundle.classifier, out, metadata, bundle.temperature)


def _check_network(bundle: Bundle, model: Path) -> None:
    """Refuse what has no graph."""
    if bundle.kind != "cnn":
        raise ModelError(
            f"Only networks are exported to ONNX and the model in {model} is of the kind "
            f"{bundle.kind}; give the folder of a cnn model."
        )
    if bundle.features is not None:
        raise ModelError(
            f"The model in {model} works on image features, which an ONNX graph cannot "
            "compute; export a network that was trained on bands."
        )


def _classes(bundle: Bundle) -> list[dict[str, Any]]:
    """Return code, name and colour of each class in the order of the probabilities."""
    codes = bundle.classifier.classes_
    if codes.dtype.kind not in "iu" or codes.min() < 1 or codes.max() > MAX_CODE:
        raise ModelError(
            f"The classes of the model are not codes from 1 to {MAX_CODE}; train on codes."
        )
    return legend_from_card(bundle.card).covering(codes).to_json()


def export_map(
    source: Path,
    out: Path,
    *,
    majority: int = 1,
    sieve: int = 1,
    within: Path | None = None,
    within_layer: str | None = None,
    minimum_area: float = 0.0,
    when: str | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Write a class map in the format of the suffix and return sentences about it.

    Parameters
    ----------
    source : the class map
    out : file to write: polygons (.gpkg, .geojson), a map (.tif) or a STAC item (.json)
    majority : side of the majority filter in pixels, odd; 1 = none
    sieve : regions of fewer pixels are merged; 1 = none
    within, within_layer : area outside which the map holds no data, and its layer
    minimum_area : smallest polygon, in hectares
    when : day the image was taken, for STAC
    progress : called with the number of polygons written, and of all

    Raises
    ------
    CallError
        If the suffix is unknown, or an option does not go with it.
    """
    kind = out.suffix.lower()
    cleaning = Cleaning(majority, sieve)
    changed = within is not None or bool(cleaning)
    _check_options(out, minimum_area=minimum_area, when=when, changed=changed)
    _check_style(out)
    check_map(source)
    raw = open_class_map(source)
    remove_abandoned_drafts(out)
    if when is not None:
        facts = MapFacts(legend=raw.legend, grid=raw.grid, origin=raw.origin)
        write_stac_item(out, source, when, **facts)
        return [f"STAC item: {out}"]
    codes = raw.codes
    if within is not None:
        inside = read_area(within, raw.grid, within_layer)
        codes = np.where(inside, codes, 0).astype(codes.dtype)
    codes = cleaning.apply(codes)
    if kind in DRIVERS:
        number, summary = write_polygons(
            replace(raw, codes=codes), out, minimum_area=minimum_area, progress=progress
        )
        sentences = [f"{counted(number, 'polygon')}: {out}", *filter(None, [summary])]
    else:
        write_class_map(out, codes, raw.legend, raw.grid, **raw.origin)
        altered = int(np.count_nonzero((codes != raw.codes) & (codes > 0)))
        sentences = [f"Map: {out}", f"{counted(altered, 'pixel')} changed class."]
    return [*sentences, *(f"Note: {note}" for note in raw.notes)]


def _check_options(
    out: Path, *, minimum_area: float, when: str | None, changed: bool
) -> None:
    """Refuse options that do not go with the suffix."""
    kind = out.suffix.lower()
    if kind not in {".json", ".tif", ".tiff", *DRIVERS}:
        raise CallError(
            "A class map is exported as polygons (.gpkg, .geojson), as a map (.tif) or "
            f"as a STAC item (.json), got {out.name!r}; give it one of these suffixes."
        )
    if minimum_area and kind not in DRIVERS:
        raise CallError(
            f"--minimum-area is for polygons, got {out.name!r}; give --sieve for a map."
        )
    if (kind == ".json") != (when is not None):
        raise CallError(
            "A STAC item (.json) needs the day the image was taken, and nothing else "
            "does; give --datetime 1992-06-12 with it alone."
        )
    if kind == ".json" and changed:
        raise CallError(
            "A STAC item describes a map as it is; clean or clip the map first (-o map.tif)."
        )


def _check_style(out: Path) -> None:
    """Refuse polygons beside a map of their name, and the other way round.

    QGIS finds the style of both in ``<name>.qml``: the second would take that of the first.
    """
    kind = out.suffix.lower()
    others = {".tif", ".tiff"} if kind in DRIVERS else set(DRIVERS)
    for other in map(out.with_suffix, sorted(others) if kind != ".json" else ()):
        if other.exists():
            raise CallError(
                f"{out} would take the style {out.with_suffix('.qml').name} of {other}, which "
                "stands beside it; choose another name."
            )
