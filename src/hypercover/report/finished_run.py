"""A finished run, read from its folder for the report."""

import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hypercover.evaluation.run_metrics import (
    ModelMetrics,
    RunMetrics,
    SplitMetrics,
    SplitResults,
)
from hypercover.evaluation.search_metrics import SearchMetrics, read_search
from hypercover.report.descriptions import crs_name, describe_spread, main_split_name
from hypercover.report.embedded_images import EmbeddedImage, embed_png, read_image
from hypercover.report.viewer_data import ViewerData, read_viewer_data
from hypercover.splits.split import PART_COLORS, PARTS

_LONGEST_LOG = 64 * 2**20
_PARTS, _CURVES = ("", "validation_"), ("loss", "accuracy")
_LONGEST_CONFIGURATION = 2**20
_OF_RUN = ("gap", "curve", "spectra")
"""Pictures of the whole run that are drawn as files."""
_OF_MODEL = ("training", "classes", "confused", "reliability", "abstention")
_OF_LAND = ("map", "confidence", "check")
"""Pictures of the land: the page draws them itself where the run kept a view."""


@dataclass(frozen=True)
class ModelResult:
    """One model under one split, as a row of the table."""

    model_name: str
    """Name of the model."""
    split_name: str
    """Name of the split."""
    main: bool
    """Whether it is the split the experiment was made for."""
    model: ModelMetrics
    """Its figures."""
    split: SplitMetrics
    """The split."""


@dataclass(frozen=True)
class FinishedRun:
    """A run folder, read for the page."""

    folder: Path
    """Where it lies."""
    record: RunMetrics
    """What its metrics say."""

    @property
    def main_name(self) -> str:
        """Name of the split the experiment was made for."""
        record = self.record
        return main_split_name(record.split.kind, record.beside, gap=record.gap is not None)

    @cached_property
    def splits(self) -> dict[str, SplitResults]:
        """Splits by name, the main one first."""
        main = SplitResults(split=self.record.split, models=self.record.models)
        return {self.main_name: main} | self.record.beside

    @cached_property
    def outcomes(self) -> list[ModelResult]:
        """Every model under every split."""
        return [
            ModelResult(model, name, name == self.main_name, figures, each.split)
            for name, each in self.splits.items()
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
        said = [*self.record.notes, *self.record.scene.notes]
        for name, each in self.splits.items():
            said += [f"{name}: {note}" for note in each.split.notes]
        return list(dict.fromkeys(said))

    @property
    def legend(self) -> list[dict[str, str]]:
        """Colours and names of the classes."""
        return [{"color": row.color, "text": row.name} for row in self.record.legend]

    @property
    def parts(self) -> list[dict[str, str]]:
        """Colours and names of the parts of a split."""
        return [{"color": PART_COLORS[name], "text": name} for name in PARTS[1:]]

    @property
    def repeats(self) -> int:
        """Largest number of draws a model was run with: seeds, or folds of all seeds."""
        return max((len(each.model.repeats) for each in self.outcomes), default=0)

    @property
    def seeds(self) -> int:
        """Largest number of seeds a model was run with."""
        each = [one.model for one in self.outcomes]
        return max((len(one.repeats) // max(one.folds, 1) for one in each), default=0)

    @property
    def spread(self) -> str:
        """Of what ± is the standard deviation."""
        return describe_spread(
            {
                each.split_name: (len(each.model.repeats), each.model.folds)
                for each in self.outcomes
            }
        )

    def of_model(self, name: str) -> list[ModelResult]:
        """Return one model under every split, the main one first."""
        return [each for each in self.outcomes if each.model_name == name]

    @property
    def headline(self) -> ModelResult | None:
        """The model chosen by validation, or the only one there is."""
        names = list(self.record.models)
        best = self.record.best if self.record.best in names else None
        if best is None and len(names) == 1:
            best = names[0]
        return (
            next((each for each in self.of_model(best) if each.main), None)
            if best
            else None
        )

    @cached_property
    def search(self) -> SearchMetrics | None:
        """The grid search that lies in the same folder, if there is one."""
        return read_search(self.folder)

    @cached_property
    def view(self) -> ViewerData | None:
        """What the page draws the scene and the maps from, if the run kept it whole."""
        crs = self.record.scene.crs
        return read_viewer_data(
            self.folder,
            list(self.record.models),
            classes=tuple(self.record.legend),
            main_name=self.main_name,
            crs=crs_name(crs) if crs else "",
            best=self.record.best,
        )

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
            keys += ["scene", "labels", "split"]
            keys += [f"split-{name}" for name in self.record.beside]
        for model in self.record.models:
            drawn = self.view is not None and self.view.has(f"map-{model}")
            of_model = _OF_MODEL if drawn else (*_OF_MODEL, *_OF_LAND)
            keys += [f"{what}-{model}" for what in of_model]
        read = ((key, read_image(self.folder / "figures", key)) for key in keys)
        return {key: plate for key, plate in read if plate is not None}

    def training(self, model: str) -> EmbeddedImage | None:
        """Return the training curves of a model: as drawn, or drawn now from the log."""
        drawn = self.plate(f"training-{model}")
        rows = [row for row in self._log_rows if row.get("model") == model]
        return drawn or (_draw_training(model, rows) if rows else None)

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
    """Read the rows of a log; what is no point of a curve is left out.

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


def _draw_training(model: str, rows: list[dict[str, Any]]) -> EmbeddedImage | None:
    from hypercover.figures.accuracy_curves import draw_training

    content = io.BytesIO()
    draw_training(rows, f"{model}: training").savefig(content, format="png")
    return embed_png(f"training-{model}", content.getvalue())
