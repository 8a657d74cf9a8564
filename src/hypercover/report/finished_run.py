"""A finished run, read from its folder for the report."""

import base64
import io
import json
import logging
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hypercover.evaluation import run_metrics
from hypercover.figures.accuracy_figures import draw_training
from hypercover.figures.canvas import PLACE_KEY
from hypercover.report.scene_view import ViewerData, read_viewer_data
from hypercover.splits.split import PART_COLORS, PARTS

_LONGEST_LOG = 64 * 2**20
_PARTS, _CURVES = ("", "validation_"), ("loss", "accuracy")
_LONGEST_CONFIGURATION = 2**20
_OF_RUN = ("gap", "curve", "spectra")
"""Pictures of the whole run that are drawn as files."""
_OF_MODEL = ("training", "classes", "confused", "reliability", "abstention")
_OF_LAND = ("map", "confidence", "check")
"""Pictures of the land: the page draws them itself where the run kept a view."""
_SIGNATURE, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_BIGGEST = 32 * 2**20
"""Bytes of the largest figure that the page takes in."""

_log = logging.getLogger(__name__)


class ImageExtent(NamedTuple):
    """Where the image of the land lies in its figure, as shares of the figure."""

    left: float
    """From the left edge."""
    top: float
    """From the upper edge."""
    width: float
    """Share of the width."""
    height: float
    """Share of the height."""


@dataclass(frozen=True)
class EmbeddedImage:
    """A figure inside a page."""

    key: str
    """Its name in the run folder, without ``.png``."""
    uri: str
    """The PNG file as a ``data:`` address."""
    width: int
    """Pixels across."""
    height: int
    """Pixels down."""
    place: ImageExtent | None = None
    """Where the land lies in it, if the file says so."""

    @property
    def aspect(self) -> float:
        """Width over height of the land, or of the whole picture."""
        part = self.place or ImageExtent(0, 0, 1, 1)
        return self.width * part.width / (self.height * part.height)


def read_image(figures: Path, key: str) -> EmbeddedImage | None:
    """Read a figure of a run; None if there is none that can be shown.

    The key may come from a file: it must be a plain name in the folder.
    """
    path = figures / f"{key}.png"
    if path.name != f"{key}.png" or not path.is_file():
        return None
    if path.stat().st_size > _BIGGEST:
        _log.warning("%s is too large for the report and is left out", path)
        return None
    image = embed_png(key, path.read_bytes())
    if image is None:
        _log.warning("%s is damaged or not a PNG file and is left out of the report", path)
    return image


def embed_png(key: str, content: bytes) -> EmbeddedImage | None:
    """Embed the bytes of a PNG file; None if they are none, or cut short."""
    if not content.startswith(_SIGNATURE) or not content.rstrip().endswith(_PNG_END):
        return None
    width = height = 0
    place = None
    for kind, body in _chunks(content):
        if kind == b"IHDR" and len(body) >= 8:
            width, height = struct.unpack(">II", body[:8])
        elif kind == b"tEXt" and body.startswith(PLACE_KEY.encode() + b"\0"):
            place = _place(body.partition(b"\0")[2].decode("latin-1"))
    if not width or not height:
        return None
    encoded = base64.b64encode(content).decode("ascii")
    return EmbeddedImage(key, f"data:image/png;base64,{encoded}", width, height, place)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a PNG file that come before its pixels."""
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        if kind in (b"IDAT", b"IEND"):
            return
        yield kind, content[at + 8 : at + 8 + size]
        at += 12 + size


def _place(text: str) -> ImageExtent | None:
    try:
        place = ImageExtent(*map(float, text.split()))
    except (TypeError, ValueError):
        return None
    inside = 0 < place.width <= 1 and 0 < place.height <= 1
    return place if inside and 0 <= place.left < 1 and 0 <= place.top < 1 else None


@dataclass(frozen=True)
class ModelResult:
    """One model under one split, as a row of the table."""

    model_name: str
    """Name of the model."""
    split_name: str
    """Name of the split."""
    main: bool
    """Whether it is the split the experiment was made for."""
    model: run_metrics.ModelMetrics
    """Its figures."""
    split: run_metrics.SplitMetrics
    """The split."""


@dataclass(frozen=True)
class FinishedRun:
    """A run folder, read for the page."""

    folder: Path
    """Where it lies."""
    record: run_metrics.RunMetrics
    """What its metrics say."""

    @cached_property
    def outcomes(self) -> list[ModelResult]:
        """Every model under every split."""
        return [
            ModelResult(model, name, name == self.record.main_name, figures, each.split)
            for name, each in self.record.splits.items()
            for model, figures in each.models.items()
        ]

    @property
    def names(self) -> dict[int, str]:
        """Class names by code."""
        return {row.code: row.name for row in self.record.legend}

    @property
    def colors(self) -> dict[int, str]:
        """Class colours by code."""
        return {row.code: row.color for row in self.record.legend}

    @property
    def notes(self) -> list[str]:
        """What readers, splits and the run itself found worth saying, each once."""
        notes = [*self.record.notes, *self.record.scene.notes]
        for name, each in self.record.splits.items():
            notes += [f"{name}: {note}" for note in each.split.notes]
        return list(dict.fromkeys(notes))

    @property
    def parts(self) -> list[dict[str, str]]:
        """Colours and names of the parts of a split."""
        return [{"color": PART_COLORS[name], "name": name} for name in PARTS[1:]]

    @property
    def repeats(self) -> int:
        """Largest number of draws a model was run with: seeds, or folds of all seeds."""
        return max((len(each.model.repeats) for each in self.outcomes), default=0)

    @property
    def seeds(self) -> int:
        """Largest number of seeds a model was run with."""
        return max((each.model.seeds for each in self.outcomes), default=0)

    def of_model(self, name: str) -> list[ModelResult]:
        """Return one model under every split, the main one first."""
        return [each for each in self.outcomes if each.model_name == name]

    @property
    def headline(self) -> ModelResult | None:
        """The model chosen by validation, or the only one there is."""
        names = list(self.record.models)
        best = self.record.best
        if best not in names and len(names) == 1:
            best = names[0]
        results = (each for each in self.outcomes if each.model_name == best and each.main)
        return next(results, None)

    @cached_property
    def search(self) -> run_metrics.SearchMetrics | None:
        """The grid search that lies in the same folder, if there is one."""
        return run_metrics.read_search(self.folder)

    @cached_property
    def view(self) -> ViewerData | None:
        """What the page draws the scene and the maps from, if the run kept it whole."""
        return read_viewer_data(self.folder, self.record)

    @property
    def shows_held_out(self) -> bool:
        """Whether the maps show what models say of test pixels that they have not seen."""
        return self.record.map is None or self.record.map.source == "split"

    def mapped(self, model: str) -> bool:
        """Tell whether the run has a map of the whole scene by a model."""
        key = f"map-{model}"
        drawn = self.view is not None and self.view.has(key)
        return drawn or self.plate(key) is not None

    def plate(self, key: str) -> EmbeddedImage | None:
        """Return a picture of the run."""
        return self._plates.get(key)

    @cached_property
    def _plates(self) -> dict[str, EmbeddedImage]:
        keys = [*_OF_RUN]
        if self.view is None:
            splits = (f"split-{name}" for name in self.record.beside)
            keys += ["scene", "labels", "split", *splits]
        for model in self.record.models:
            drawn = self.view is not None and self.view.has(f"map-{model}")
            figures = _OF_MODEL if drawn else (*_OF_MODEL, *_OF_LAND)
            keys += [f"{figure}-{model}" for figure in figures]
        images = ((key, read_image(self.folder / "figures", key)) for key in keys)
        return {key: image for key, image in images if image is not None}

    def training(self, model: str) -> EmbeddedImage | None:
        """Return the training curves of a model: as drawn, or drawn now from the log."""
        key = f"training-{model}"
        rows = [row for row in self._log_rows if row.get("model") == model]
        if self.plate(key) or not rows:
            return self.plate(key)
        content = io.BytesIO()
        draw_training(rows, f"{model}: training").savefig(content, format="png")
        return embed_png(key, content.getvalue())

    @cached_property
    def _log_rows(self) -> list[dict[str, Any]]:
        return list(_rows(_text(self.folder / "log.jsonl", _LONGEST_LOG).splitlines()))

    @property
    def configuration(self) -> str:
        """The experiment file as it was run."""
        return _text(self.folder / "experiment.yaml", _LONGEST_CONFIGURATION)


def _text(path: Path, longest: int) -> str:
    """Read a text file of the run; one that is missing or too large is left out."""
    try:
        if path.stat().st_size <= longest:
            return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        pass
    return ""


def _rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Read the rows of a log; other rows are left out.

    The last line may have been cut short by a crash.
    """
    for line in lines:
        try:
            row = json.loads(line, parse_int=float)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and _is_number(row.get("epoch")):
            values = [row.get(f"{part}{what}") for part in _PARTS for what in _CURVES]
            if all(value is None or _is_number(value) for value in values):
                yield row


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)
