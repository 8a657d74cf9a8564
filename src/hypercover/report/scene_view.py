"""The scene and the maps as the report's viewer shows them: as arrays, and as JSON of the page."""

import base64
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from hypercover.evaluation.run_metrics import RunMetrics
from hypercover.figures.map_figures import choose_composites
from hypercover.figures.spectra import add_moments, mean_and_deviation, order_bands
from hypercover.gis.map_writing import CHECK_LEGEND, TRAINING_PART, class_check
from hypercover.prediction.scene_prediction import has_scores
from hypercover.report.descriptions import composite_title, crs_name, describe_subsampling
from hypercover.scene.io.numpy_files import load_arrays, save_arrays
from hypercover.scene.scene import Scene, stretched
from hypercover.scene.tiling import Tile
from hypercover.splits.split import PART_COLORS, PARTS
from hypercover.types import Array, Arrays, Bytes, Codes, Floats, Mask, Singles

LEVELS = 1022
"""Steps between the lowest and the highest value of a band."""

_MOST_PIXELS = 250_000
"""Pixels of a scene that the report shows; larger scenes are thinned out."""
_MOST_BYTES = 2**28
"""Largest total size of the arrays of a file, in bytes; real views are far smaller."""
_MOST_BANDS = 10_000
_MOST_VALUES = 4_500_000
"""Values of the spectra that are kept: all those of 145 × 145 pixels in 200 bands."""
_RANKS, _RANKS_IF_THINNED = 5, 3
"""Classes kept per pixel, the highest scores first."""
_FULL = 255

_log = logging.getLogger(__name__)

_Shorts = npt.NDArray[np.uint16]
_Counts = npt.NDArray[np.int32]

_OPTIONAL = ("confidence", "held", "check")
"""Arrays of a map that may be missing."""


def view_step(shape: tuple[int, int], most: int = _MOST_PIXELS, multiple: int = 1) -> int:
    """Return the step at which a scene of (rows, columns) is thinned out for the report.

    It is the smallest multiple of ``multiple`` that leaves at most ``most`` pixels.

    Examples
    --------
    >>> view_step((145, 145)), view_step((1417, 617)), view_step((145, 145), 5000, 2)
    (1, 2, 4)
    """
    step = multiple
    while np.prod(_thinned_shape(shape, step)) > max(1, most):
        step += multiple
    return step


def _thinned_shape(shape: tuple[int, int], step: int) -> tuple[int, int]:
    return -(-shape[0] // step), -(-shape[1] // step)


def read_view_arrays(path: str | Path) -> Arrays | None:
    """Read the arrays of a saved view; None if the file is missing or damaged."""
    try:
        return load_arrays(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.warning("%s is left out of the report: %s", path, error)
        return None


def _fits(arrays: Arrays, layout: Mapping[str, str], **sizes: int) -> bool:
    """Tell whether all arrays of a layout are there, with its types and dimensions.

    Dimensions of one name have one size, that of ``sizes`` if it is among them.
    """
    for name, text in layout.items():
        kind, *dims = text.split()
        array = arrays.get(name)
        if array is None or array.dtype != kind or array.ndim != len(dims):
            return False
        for dim, size in zip(dims, array.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                return False
    return True


def _layout(view: type) -> dict[str, str]:
    """Return the types and dimensions of the arrays of a view, as its fields state them."""
    return {
        field.name: get_args(field.type)[1]
        for field in fields(view)
        if get_origin(field.type) is Annotated
    }


def _with_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names start with a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): values
        for name, values in arrays.items()
        if name.startswith(prefix)
    }


@dataclass(frozen=True, eq=False)
class ClassRanking:
    """The highest classes of the pixels that the report shows, collected tile by tile.

    The scores of all classes at all pixels of a large scene would not fit in memory.
    """

    classes: Codes
    """Class codes of the classifier, in the order of its scores."""
    codes: _Shorts
    """Class codes (rank, y, x) of the shown pixels, the highest score first; 0 = no data."""
    shares: Bytes
    """Their scores (rank, y, x), 255 = 1."""
    step: int
    """Step between shown pixels."""

    @classmethod
    def of(cls, shape: tuple[int, int], classifier: Any) -> "ClassRanking":
        """Return an empty ranking for a scene of (rows, columns)."""
        step, classes = view_step(shape), np.asarray(classifier.classes_)
        most = _RANKS if step == 1 else _RANKS_IF_THINNED
        ranks = min(most, len(classes)) if has_scores(classifier) else 0
        size = (ranks, *_thinned_shape(shape, step))
        return cls(classes, np.zeros(size, np.uint16), np.zeros(size, np.uint8), step)

    def add(self, tile: Tile, scores: npt.NDArray[np.floating]) -> None:
        """Add the scores (class, row, col) of a tile; NaN = no data."""
        row, col = (-part.start % self.step for part in (tile.rows, tile.cols))
        thin = np.asarray(scores[:, row :: self.step, col :: self.step])
        valid = np.isfinite(thin).all(axis=0)
        thin = np.where(valid, thin, 0.0)
        ranked = np.argsort(-thin, axis=0, kind="stable")[: len(self.codes)]
        highest = np.take_along_axis(thin, ranked, axis=0)
        top, left = (
            slice(-(-part.start // self.step), -(-part.stop // self.step))
            for part in (tile.rows, tile.cols)
        )
        self.codes[:, top, left] = np.where(valid, self.classes[ranked], 0)
        self.shares[:, top, left] = np.round(_FULL * np.clip(highest, 0, 1))


@dataclass(frozen=True, eq=False)
class ModelView:
    """The map of one model at the pixels that the report shows."""

    labels: Annotated[_Shorts, "u2 y x"]
    """Class codes (y, x); 0 = no data."""
    confidence: Annotated[Bytes | None, "u1 y x"]
    """Confidence (y, x), 255 = 1; None if the model gives none."""
    codes: Annotated[_Shorts, "u2 rank y x"]
    """Class codes (rank, y, x), the highest score first."""
    shares: Annotated[Bytes, "u1 rank y x"]
    """Their scores (rank, y, x), 255 = 1."""
    calibrated: Annotated[bool, "bool"]
    """Whether the scores are probabilities; votes only rank pixels."""
    held: Annotated[_Shorts | None, "u2 y x"] = None
    """Predictions (y, x) to compare with the labels, by a model that has not seen the test
    pixels; None if the map itself is such."""
    check: Annotated[Bytes | None, "u1 y x"] = None
    """Class check (y, x) of these predictions; None if that of the map applies."""

    @classmethod
    def of(
        cls,
        labels: Codes,
        confidence: npt.NDArray[np.floating] | None,
        ranking: ClassRanking,
        *,
        calibrated: bool,
        held: Codes | None = None,
        check: Bytes | None = None,
    ) -> "ModelView":
        """Thin out a map (y, x) like its ranking."""
        thin = (slice(None, None, ranking.step),) * 2
        scaled = None
        if confidence is not None:
            shares = np.nan_to_num(np.clip(confidence[thin], 0, 1), nan=0.0)
            scaled = np.round(_FULL * shares).astype(np.uint8)
        return cls(
            labels[thin].astype(np.uint16),
            scaled,
            ranking.codes,
            ranking.shares,
            calibrated,
            None if held is None else held[thin].astype(np.uint16),
            None if check is None else check[thin],
        )

    def save(self, path: str | Path) -> None:
        """Save the view as an archive of plain arrays."""
        arrays = {name: values for name, values in vars(self).items() if values is not None}
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path, shape: tuple[int, int]) -> "ModelView | None":
        """Read a view of (rows, columns) shown pixels; None if it is missing or damaged."""
        arrays = read_view_arrays(path) or {}
        layout = _layout(cls)
        missing = {name for name in _OPTIONAL if name not in arrays}
        needed = {name: layout[name] for name in layout.keys() - missing}
        if not _fits(arrays, needed, y=shape[0], x=shape[1]):
            return None
        values: dict[str, Any] = {name: arrays.get(name) for name in layout}
        return cls(**values | {"calibrated": bool(arrays["calibrated"])})


@dataclass(frozen=True, eq=False)
class Spectra:
    """The spectra of some pixels in 1,023 levels a band, and those of the classes."""

    step: int
    """Step between the pixels of the scene whose spectra are kept."""
    values: Annotated[_Shorts, "u2 band row col"]
    """Levels (band, y, x) from 1; 0 = no data.  A level is worth
    ``low + (level - 1) / LEVELS * (high - low)``."""
    low: Annotated[Singles, "f4 band"]
    """Lowest value kept of each band."""
    high: Annotated[Singles, "f4 band"]
    """Highest value kept of each band."""
    bands: Annotated[_Counts, "i4 band"]
    """Number of each band in the source file, in order of wavelength."""
    wavelengths: Annotated[Singles, "f4 band"]
    """Centre of each band in nm; NaN where it is not known."""
    breaks: Annotated[Mask, "bool band"]
    """Whether bands were left out before each band, so that a line must break."""
    codes: Annotated[_Shorts, "u2 class"]
    """Codes of the classes that have training pixels."""
    counts: Annotated[_Counts, "i4 class"]
    """Training pixels of each of them."""
    means: Annotated[Singles, "f4 class band"]
    """Their mean spectra (class, band)."""
    deviations: Annotated[Singles, "f4 class band"]
    """Their standard deviations (class, band)."""
    units: str
    """Unit of the values; empty where it is not known."""

    def thinned(self) -> "Spectra":
        """Return every other spectrum of every other row."""
        return replace(self, step=2 * self.step, values=self.values[:, ::2, ::2])

    @classmethod
    def from_arrays(cls, arrays: Arrays, shape: tuple[int, int]) -> "Spectra | None":
        """Take the spectra of a scene of (rows, columns) from arrays; None if they do not fit."""
        try:
            step, units = int(arrays["step"]), str(arrays["units"])[:60]
        except (KeyError, TypeError, ValueError):
            return None
        if not 0 < step <= max(shape):
            return None
        rows, cols = _thinned_shape(shape, step)
        layout = _layout(cls)
        if (
            not _fits(arrays, layout, row=rows, col=cols)
            or not 0 < len(arrays["bands"]) <= _MOST_BANDS
        ):
            return None
        return cls(step, units=units, **{name: arrays[name] for name in layout})


@dataclass(frozen=True, eq=False)
class SceneView:
    """A scene at the pixels that the report shows."""

    shape: tuple[int, int]
    """Rows and columns of the whole scene."""
    step: int
    """Step between shown pixels."""
    labels: Annotated[_Shorts, "u2 y x"]
    """Class codes (y, x); 0 = unlabelled."""
    parts: Mapping[str, Bytes]
    """Parts (y, x) of each split, the main one first."""
    composites: Mapping[str, Bytes]
    """Colour composites (y, x, 3) by key."""
    shown_bands: Mapping[str, Singles]
    """Wavelengths in nm, or else numbers, of the bands of each composite."""
    transform: Annotated[Floats, "f8 affine"]
    """Affine a, b, c, d, e, f of the whole scene; NaN if it has no georeference."""
    metres: Annotated[float, "f8"]
    """Side of a pixel in metres; NaN if it is unknown."""
    spectra: Spectra | None
    """Spectra; None if the file holds none that are whole."""

    @property
    def shown(self) -> tuple[int, int]:
        """Rows and columns that the report shows."""
        return self.labels.shape[0], self.labels.shape[1]

    def save(self, path: str | Path) -> None:
        """Save the view as an archive of plain arrays."""
        arrays: dict[str, npt.ArrayLike] = {
            "shape": np.asarray(self.shape, np.int32),
            "step": np.int32(self.step),
            "labels": self.labels,
            "transform": self.transform,
            "metres": np.float64(self.metres),
        }
        groups: dict[str, Mapping[str, Any]] = {
            "parts-": self.parts,
            "composite-": self.composites,
            "bands-": self.shown_bands,
            "spectra-": {} if self.spectra is None else vars(self.spectra),
        }
        for prefix, group in groups.items():
            arrays |= {f"{prefix}{name}": values for name, values in group.items()}
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> "SceneView | None":
        """Read a saved view; None if it is missing or damaged."""
        arrays = read_view_arrays(path) or {}
        if not _fits(arrays, {"shape": "i4 side", "step": "i4"}, side=2):
            return None
        (rows, cols), step = arrays["shape"].tolist(), int(arrays["step"])
        if not 0 < step <= max(rows, cols) or min(rows, cols) < 1:
            return None
        parts, composites = (
            _with_prefix(arrays, start) for start in ("parts-", "composite-")
        )
        layout = {
            **_layout(cls),
            **{f"parts-{name}": "u1 y x" for name in parts},
            **{f"composite-{key}": "u1 y x rgb" for key in composites},
            **{f"bands-{key}": "f4 rgb" for key in composites},
        }
        down, across = _thinned_shape((rows, cols), step)
        if not _fits(arrays, layout, y=down, x=across, rgb=3, affine=6):
            return None
        return cls(
            (rows, cols),
            step,
            arrays["labels"],
            parts,
            composites,
            {key: arrays[f"bands-{key}"] for key in composites},
            arrays["transform"],
            float(arrays["metres"]),
            Spectra.from_arrays(_with_prefix(arrays, "spectra-"), (rows, cols)),
        )


def make_scene_view(
    scene: Scene, parts: Mapping[str, Bytes], *, metres: float | None = None
) -> SceneView:
    """Return the view of a scene and its splits.

    Parameters
    ----------
    scene : Scene
        Read strip by strip, once.
    parts : mapping
        Parts (y, x) of each split; the training pixels of the first give the
        mean spectra of the classes.
    metres : float, optional
        Side of a pixel in metres, if it is known.
    """
    step = view_step(scene.shape)
    sparse = view_step(scene.shape, _MOST_VALUES // scene.n_bands, step)
    labels, main = scene.usable_labels, next(iter(parts.values()))
    trained = np.where(main == TRAINING_PART, labels, 0)
    composites = choose_composites(scene.wavelengths, scene.n_bands)
    colour_bands = sorted({band for positions in composites.values() for band in positions})
    colours, spectra = [], []
    moments: dict[int, Floats] = {}
    for rows in scene.strips():
        values, valid = scene.read_valid(rows, slice(None))
        thin = slice(-rows.start % step, None, step), slice(None, None, step)
        colours.append((values[colour_bands][:, *thin], valid[thin]))
        few = slice(-rows.start % sparse, None, sparse), slice(None, None, sparse)
        spectra.append((values[:, *few].astype(np.float32), valid[few]))
        add_moments(moments, values, np.where(valid, trained[rows], 0))
    thin = (slice(None, None, step),) * 2
    bands = scene.bands if scene.wavelengths is None else scene.wavelengths
    pixels, valid = _joined(colours)
    return SceneView(
        scene.shape,
        step,
        labels[thin].astype(np.uint16),
        {name: values[thin] for name, values in parts.items()},
        {
            key: stretched(pixels[[colour_bands.index(band) for band in positions]], valid)
            for key, positions in composites.items()
        },
        {key: bands[list(at)].astype(np.float32) for key, at in composites.items()},
        np.asarray(scene.grid.transform if scene.grid.placed else [np.nan] * 6, np.float64),
        np.nan if metres is None else metres,
        _spectra(scene, sparse, *_joined(spectra), moments),
    )


def _joined(strips: list[tuple[Array, Mask]]) -> tuple[Array, Mask]:
    """Join the values (band, row, col) and valid pixels (row, col) of all strips."""
    values, valid = zip(*strips, strict=True)
    return np.concatenate(values, axis=1), np.concatenate(valid)


def _spectra(
    scene: Scene, step: int, values: Singles, valid: Mask, moments: dict[int, Floats]
) -> Spectra:
    """Return kept and mean spectra, with the bands in order of wavelength."""
    order, breaks = order_bands(scene)
    levels, low, high = _levels(values[order], valid)
    codes = sorted(moments)
    sums = np.array([moments[code][:, order] for code in codes])
    sums = sums.reshape(-1, 3, scene.n_bands).swapaxes(0, 1)
    means, deviations = mean_and_deviation(sums)
    waves = (
        np.full(scene.n_bands, np.nan) if scene.wavelengths is None else scene.wavelengths
    )
    return Spectra(
        step,
        levels,
        low,
        high,
        scene.bands[order].astype(np.int32),
        waves[order].astype(np.float32),
        np.isin(np.arange(scene.n_bands), breaks),
        np.array(codes, np.uint16),
        sums[0, :, 0].astype(np.int32),
        means.astype(np.float32),
        deviations.astype(np.float32),
        str(scene.cube.attrs.get("units") or "")[:60],
    )


def _levels(values: Singles, valid: Mask) -> tuple[_Shorts, Singles, Singles]:
    """Cut each band (band, y, x) into levels between its lowest and highest value."""
    levels, pixels = np.zeros(values.shape, np.uint16), values[:, valid]
    if not pixels.size:
        flat = np.zeros(len(values), np.float32)
        return levels, flat, flat
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    spread = np.where(high > low, high - low, 1.0)
    levels[:, valid] = 1 + np.round(
        LEVELS * ((pixels - low[:, None]) / spread[:, None]).astype(np.float64)
    )
    return levels, low, high


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
            content = _spectra_json(spectra)
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


def _spectra_json(spectra: Spectra) -> dict[str, Any]:
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
