"""The data of the report's viewer: one JSON text with packed arrays."""

import base64
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hypercover.evaluation.run_metrics import RunMetrics
from hypercover.gis.map_writing import CHECK_LEGEND, class_check
from hypercover.report.descriptions import composite_title, crs_name, describe_subsampling
from hypercover.report.scene_view import LEVELS, ModelView, SceneView, Spectra
from hypercover.splits.split import PART_COLORS, PARTS
from hypercover.types import Array

_log = logging.getLogger(__name__)

_MOST_TEXT = 12 * 2**20
"""Letters of the whole view, so that a page with its figures stays below 15 MB."""
_UNKNOWN = "#8a8f98"
"""Colour of a class code that the legend of the run does not name."""
_WITHOUT = (
    "shows pictures of the map of {0} instead of an interactive map; "
    "run the experiment again to have it made."
)


@dataclass(frozen=True, eq=False)
class ViewerData:
    """The scene and the maps of a run, ready to stand inside the page."""

    scene: SceneView
    """Pictures, labels, splits and spectra."""
    models: Mapping[str, ModelView]
    """The map of each model that has one."""
    record: RunMetrics
    """What the run recorded: classes, splits and the model to show first."""

    @cached_property
    def layers(self) -> list[dict[str, Any]]:
        """Every picture of the scene and of its maps, in the order in which it is offered."""
        scene = self.scene
        layers = [
            _layer(key, self._title(key), "rgb", composite)
            for key, composite in scene.composites.items()
        ]
        layers.append(_layer("labels", "labels", "codes", scene.labels, "land"))
        for name, parts in scene.parts.items():
            title = f"split: {self.record.main_name if name == 'main' else name}"
            key = "split" if name == "main" else f"split-{name}"
            layers.append(_layer(key, title, "codes", parts, "parts"))
        for name, model in self.models.items():
            layers += self._layers_of(name, model)
        return layers

    def _title(self, key: str) -> str:
        spectra = self.scene.spectra
        in_nm = spectra is not None and bool(np.isfinite(spectra.wavelengths).all())
        return composite_title(key, self.scene.shown_bands[key].tolist(), in_nm)

    def _layers_of(self, name: str, model: ModelView) -> Iterator[dict[str, Any]]:
        yield _layer(f"map-{name}", f"map: {name}", "codes", model.labels, "land")
        if model.confidence is not None:
            title = f"confidence: {name}"
            yield _layer(f"confidence-{name}", title, "share", model.confidence)
        if "main" in self.scene.parts:
            check = model.check
            if check is None:
                parts = self.scene.parts["main"]
                check = class_check(self.scene.labels, model.labels, parts)
            yield _layer(f"check-{name}", f"class check: {name}", "codes", check, "check")

    def has(self, key: str) -> bool:
        """Tell whether there is a picture of this key."""
        return any(layer["key"] == key for layer in self.layers)

    @property
    def thinned(self) -> str:
        """Say which pixels are shown, where not all of them are; else nothing."""
        sparse = self.spectra.step if self.spectra else self.scene.step
        return describe_subsampling(self.scene.shape, self.scene.step, sparse)

    @property
    def aspect(self) -> float:
        """Width over height of the scene."""
        return self.scene.shown[1] / self.scene.shown[0]

    @property
    def spectra(self) -> Spectra | None:
        """The spectra, thinned out until the page holds them beside its layers."""
        return self._kept[0]

    @cached_property
    def _kept(self) -> tuple[Spectra | None, dict[str, Any] | None]:
        spectra = self.scene.spectra
        left = _MOST_TEXT - len(json.dumps(self.layers)) - len(json.dumps(self._answers))
        while spectra is not None:
            content = _spectra(spectra)
            if len(json.dumps(content)) <= left:
                return spectra, content
            # Where not even one fits, the page goes without.
            spectra = spectra.thinned() if max(spectra.values.shape[1:]) > 1 else None
        return None, None

    @cached_property
    def _answers(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "ranks": len(model.codes),
                "codes": _packed(model.codes),
                "shares": _packed(model.shares),
                "calibrated": model.calibrated,
                "held": None if model.held is None else _packed(model.held),
            }
            for name, model in self.models.items()
        ]

    @cached_property
    def text(self) -> Markup:
        """The whole view as JSON that no end of a script can be hidden in."""
        scene = self.scene
        placed, crs = bool(np.isfinite(scene.transform).all()), self.record.scene.crs
        content = {
            "shape": list(scene.shape),
            "shown": list(scene.shown),
            "step": scene.step,
            "transform": scene.transform.tolist() if placed else None,
            "metres": scene.metres if math.isfinite(scene.metres) else None,
            "crs": crs_name(crs) if crs else "",
            "legends": self._legends(),
            "layers": self.layers,
            "models": self._answers,
            "spectra": self._kept[1],
            "best": self.record.best,
        }
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        for letter in "<>&\u2028\u2029":
            text = text.replace(letter, f"\\u{ord(letter):04x}")
        # Every letter that a page would read as its own was taken out just above.
        return Markup(text)  # noqa: S704

    def _legends(self) -> dict[str, list[dict[str, Any]]]:
        named = {row.code: (row.name, row.color) for row in self.record.legend}
        maps = [self.scene.labels, *(model.labels for model in self.models.values())]
        codes = sorted({code for each in maps for code in np.unique(each).tolist()} - {0})
        land = [(code, *named.get(code, (f"Class {code}", _UNKNOWN))) for code in codes]
        parts = [(at, name, PART_COLORS[name]) for at, name in enumerate(PARTS) if at]
        check = [(row.code, row.name, row.color) for row in CHECK_LEGEND]
        return {
            name: [dict(zip(("code", "name", "color"), row, strict=True)) for row in rows]
            for name, rows in {"land": land, "parts": parts, "check": check}.items()
        }


def _layer(
    key: str, name: str, kind: str, values: Array, legend: str = ""
) -> dict[str, Any]:
    """Describe a picture of the land that the page can show.

    Parameters
    ----------
    key : by which pictures and links ask for it
    name : as readers see it
    kind : "rgb", "codes" or "share"
    values : array (y, x) or (y, x, 3)
    legend : which legend its codes belong to: land, parts or check
    """
    facts = {"key": key, "name": name, "kind": kind, "legend": legend}
    return facts | {"data": _packed(values)}


def _spectra(spectra: Spectra) -> dict[str, Any]:
    """Return spectra and class means; low and high bytes apart, for they pack better so."""
    waves = spectra.wavelengths.tolist()
    return {
        "step": spectra.step,
        "levels": LEVELS,
        "bands": spectra.bands.tolist(),
        "waves": [round(wave, 2) for wave in waves] if np.isfinite(waves).all() else None,
        "breaks": np.flatnonzero(spectra.breaks).tolist(),
        "units": spectra.units,
        "low": _packed(spectra.low),
        "high": _packed(spectra.high),
        "lower": _packed((spectra.values & 0xFF).astype(np.uint8)),
        "upper": _packed((spectra.values >> 8).astype(np.uint8)),
        "codes": spectra.codes.tolist(),
        "counts": spectra.counts.tolist(),
        "means": _packed(spectra.means),
        "deviations": _packed(spectra.deviations),
    }


def _packed(values: Array) -> dict[str, str]:
    """Return an array as base64 of raw deflate: what a browser unpacks by itself."""
    dtype = values.dtype.newbyteorder("<")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(values.astype(dtype).tobytes()) + packer.flush()
    text = base64.b64encode(packed).decode("ascii")
    return {"type": f"{dtype.kind}{dtype.itemsize}", "packed": text}


def read_viewer_data(folder: Path, record: RunMetrics) -> ViewerData | None:
    """Read what a run kept for its page, or None where it kept nothing that is whole.

    Model names may come from anybody's file: they must be plain names in the folder.
    """
    scene = SceneView.load(folder / "view" / "scene.npz")
    if scene is None:
        return None
    views = {}
    for name in record.models:
        path = folder / "view" / f"map-{name}.npz"
        if path.name != f"map-{name}.npz" or "\0" in name:
            continue
        if (view := ModelView.load(path, scene.shown)) is not None:
            views[name] = view
        elif not path.exists() and (folder / "maps" / f"{name}.tif").exists():
            _log.warning("%s is missing, so the report %s", path, _WITHOUT.format(name))
    return ViewerData(scene, views, record)
