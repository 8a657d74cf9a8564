"""Exports: networks as ONNX, and class maps cleaned, as polygons or as STAC items."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.classifiers.bundle import Bundle, load_bundle
from hypercover.errors import CallError, ModelError, counted
from hypercover.experiment.results.outputs import check_map
from hypercover.files import check_writable, remove_abandoned_drafts
from hypercover.gis.class_map_files import write_class_map
from hypercover.gis.cleaning import Cleaning
from hypercover.gis.polygons import DRIVERS, write_polygons
from hypercover.gis.stac import write_stac_item
from hypercover.prediction.map_prediction import legend_from_card
from hypercover.scene.class_map import ClassMap, open_class_map
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
            f"The classes of the model are not codes from 1 to {MAX_CODE}; train it on "
            "codes."
        )
    return legend_from_card(bundle.card).covering(codes).to_json()


@dataclass(frozen=True)
class MapExport:
    """What is to be made of a class map."""

    majority: int = 1
    """Side of the majority filter in pixels, odd; 1 = none."""
    sieve: int = 1
    """Regions of fewer pixels are merged; 1 = none."""
    within: Path | None = None
    """Area outside which the map holds no data."""
    minimum_area: float = 0.0
    """Smallest polygon, in hectares."""
    when: str | None = None
    """Day the image was taken."""
    within_layer: str | None = None
    """Layer of the area, where its file holds several."""

    def write(self, source: Path, out: Path, progress: Progress | None = None) -> list[str]:
        """Write what the suffix asks for and return sentences about it.

        Polygons report how many are written, of how many.

        Raises
        ------
        CallError
            If the suffix is unknown, or what was asked for does not go with it.
        """
        kind = out.suffix.lower()
        self._check(kind, out)
        _check_style(kind, out)
        cleaning = Cleaning(self.majority, self.sieve)
        check_map(source)
        found = open_class_map(source)
        remove_abandoned_drafts(out)
        if kind == ".json":
            write_stac_item(
                out,
                source,
                str(self.when),
                legend=found.legend,
                grid=found.grid,
                origin=found.origin,
            )
            return [f"STAC item: {out}"]
        made = self._made(found, cleaning)
        if kind in DRIVERS:
            number, told = write_polygons(
                made, out, minimum_area=self.minimum_area, progress=progress
            )
            said = [f"{counted(number, 'polygon')}: {out}", *([told] if told else [])]
            return [*said, *(f"Note: {note}" for note in found.notes)]
        write_class_map(out, made.codes, made.legend, made.grid, **made.origin)
        changed = np.count_nonzero((made.codes != found.codes) & (made.codes > 0))
        said = [f"Map: {out}", f"{counted(int(changed), 'pixel')} changed class."]
        return [*said, *(f"Note: {note}" for note in found.notes)]

    def _made(self, found: ClassMap, cleaning: Cleaning) -> ClassMap:
        """Return the map clipped and cleaned."""
        codes = found.codes
        if self.within is not None:
            inside = read_area(self.within, found.grid, self.within_layer)
            codes = np.where(inside, codes, 0).astype(codes.dtype)
        return replace(found, codes=cleaning.apply(codes))

    def _check(self, kind: str, out: Path) -> None:
        if kind not in {".json", ".tif", ".tiff", *DRIVERS}:
            raise CallError(
                "A class map is exported as polygons (.gpkg, .geojson), as a map (.tif) or "
                f"as a STAC item (.json), got {out.name!r}; give it one of these suffixes."
            )
        if self.minimum_area and kind not in DRIVERS:
            raise CallError(
                f"--minimum-area is for polygons, got {out.name!r}; for a map give --sieve "
                "with pixels."
            )
        if (kind == ".json") != (self.when is not None):
            raise CallError(
                "A STAC item (.json) needs the day the image was taken, and nothing else "
                "does; give --datetime 1992-06-12 with it alone."
            )
        if kind == ".json" and (self.within or self.majority > 1 or self.sieve > 1):
            raise CallError(
                "A STAC item describes a map as it is; clean or clip the map first (-o map.tif)."
            )


def _check_style(kind: str, out: Path) -> None:
    """Refuse polygons beside a map of their name, and the other way round.

    QGIS finds the style of both in ``<name>.qml``: the second would take that of the first.
    """
    others = {".tif", ".tiff"} if kind in DRIVERS else set(DRIVERS)
    if kind == ".json":
        return
    for other in (out.with_suffix(suffix) for suffix in sorted(others)):
        if other.exists():
            raise CallError(
                f"{out} would take the style {out.with_suffix('.qml').name} of {other}, which "
                "stands beside it; choose another name."
            )
