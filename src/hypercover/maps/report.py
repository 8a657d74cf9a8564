"""The report: one offline page that says what was mapped and how far to believe it."""

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hypercover.files import write_text
from hypercover.maps.check import CHECK_LEGEND
from hypercover.maps.plates import Plate, plate_of, read_plate
from hypercover.maps.record import Beside, Model, Record, Split, read_record
from hypercover.maps.search_record import SearchRecord, read_search
from hypercover.maps.words import (
    count_words,
    crs_words,
    leak_words,
    percent,
    seconds_words,
    share_words,
    split_words,
    training_words,
)
from hypercover.samples.split import PART_COLORS, PARTS

__all__ = ["write_report"]

_PAGE = Path(__file__).parent / "page"
_LONGEST_LOG = 64 * 2**20
_PARTS, _CURVES = ("", "validation_"), ("loss", "accuracy")
_LONGEST_CONFIGURATION = 2**20


@dataclass(frozen=True)
class Outcome:
    """One model under one split, as a row of the table."""

    model_name: str
    """Name of the model."""
    split_name: str
    """Name of the split."""
    main: bool
    """Whether it is the split the experiment was made for."""
    model: Model
    """Its figures."""
    split: Split
    """The split."""


@dataclass(frozen=True)
class Run:
    """A run folder, read for the page."""

    folder: Path
    """Where it lies."""
    record: Record
    """What its metrics say."""

    @property
    def main_name(self) -> str:
        """Name of the split the experiment was made for."""
        kind = self.record.split.kind
        return kind if kind not in self.record.beside else f"{kind} (main)"

    @cached_property
    def splits(self) -> dict[str, Beside]:
        """Splits by name, the main one first."""
        main = Beside(split=self.record.split, models=self.record.models)
        return {self.main_name: main} | self.record.beside

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Every model under every split."""
        return [
            Outcome(model, name, name == self.main_name, figures, each.split)
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
        """Largest number of seeds a model was run with."""
        return max((len(each.model.repeats) for each in self.outcomes), default=0)

    def of_model(self, name: str) -> list[Outcome]:
        """Return one model under every split, the main one first."""
        return [each for each in self.outcomes if each.model_name == name]

    @property
    def headline(self) -> Outcome | None:
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
    def search(self) -> SearchRecord | None:
        """The grid search that lies in the same folder, if there is one."""
        return read_search(self.folder)

    def plate(self, key: str) -> Plate | None:
        """Return a picture of the run."""
        return self._plates.get(key)

    @cached_property
    def _plates(self) -> dict[str, Plate]:
        keys = ["scene", "labels", "spectra", "split"]
        keys += [f"split-{name}" for name in self.record.beside]
        for model in self.record.models:
            keys += [
                f"{what}-{model}" for what in ("map", "confidence", "check", "training")
            ]
        read = ((key, read_plate(self.folder / "figures", key)) for key in keys)
        return {key: plate for key, plate in read if plate is not None}

    def training(self, model: str) -> Plate | None:
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

    @cached_property
    def layers(self) -> list[dict[str, Any]]:
        """Pictures of the land that can be laid over the scene, with their legends."""
        land, parts = self.legend, self.parts
        check = [{"color": row.color, "text": row.name} for row in CHECK_LEGEND]
        named = [("labels", "labels", land), ("split", f"split: {self.main_name}", parts)]
        named += [(f"split-{name}", f"split: {name}", parts) for name in self.record.beside]
        for model in self.record.models:
            named += [
                (f"map-{model}", f"map: {model}", land),
                (f"confidence-{model}", f"confidence: {model}", []),
                (f"check-{model}", f"class check: {model}", check),
            ]
        return [
            {"key": key, "name": name, "legend": legend, "plate": self.plate(key)}
            for key, name, legend in named
            if self._fits_scene(key)
        ]

    def _fits_scene(self, key: str) -> bool:
        """Tell whether a picture can be laid over that of the scene."""
        scene, other = self.plate("scene"), self.plate(key)
        if scene is None or other is None or not (scene.place and other.place):
            return False
        return abs(scene.aspect / other.aspect - 1) < 0.02


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


def _draw_training(model: str, rows: list[dict[str, Any]]) -> Plate | None:
    from hypercover.maps.draw import draw_training

    content = io.BytesIO()
    draw_training(rows, f"{model}: training").savefig(content, format="png")
    return plate_of(f"training-{model}", content.getvalue())


def _shares(matrix: list[list[float]]) -> list[list[float]]:
    """Return each row of a confusion matrix as shares of its sum."""
    return [[count / (sum(row) or 1) for count in row] for row in matrix]


def _gap(outcomes: list[Outcome]) -> dict[str, Any] | None:
    """Compare a model under the main split with the split that flatters it most."""
    scored = [each for each in outcomes if each.model.overall_accuracy is not None]
    main = next((each for each in scored if each.main), None)
    others = [each for each in scored if not each.main]
    if main is None or not others:
        return None
    other = max(others, key=_accuracy, default=main)
    return {
        "main": main,
        "other": other,
        "points": 100 * (_accuracy(other) - _accuracy(main)),
    }


def _accuracy(outcome: Outcome) -> float:
    return outcome.model.overall_accuracy or 0.0


@cache
def _environment() -> Environment:
    """Return templates that escape every value and stop at a name they do not know."""
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count_words,
        "crs_words": crs_words,
        "leak": leak_words,
        "percent": percent,
        "seconds": seconds_words,
        "share_words": share_words,
        "shares": _shares,
        "split_words": split_words,
        "training_words": training_words,
    }
    return environment


def _parts() -> Mapping[str, Any]:
    """Return style and script, and the digest that alone lets the script run."""
    script = (_PAGE / "report.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    return {
        # Files of this package, not of the run: the only text that is not escaped.
        "style": Markup((_PAGE / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_digest": base64.b64encode(digest).decode("ascii"),
    }


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` from what a run left in its folder.

    The page stands alone: pictures, style and script are inside, nothing is
    loaded from anywhere, and a content policy in the page forbids it to try.
    Parts the run did not make (maps, other splits, repeats) are left out.

    Parameters
    ----------
    folder : path of a run with at least ``metrics.json``

    Returns
    -------
    path of the report

    Raises
    ------
    CallError
        If the folder holds no metrics, or not what a run leaves.
    OutputError
        If the page cannot be written.
    """
    run = Run(Path(folder), read_record(Path(folder)))
    gaps = {name: _gap(run.of_model(name)) for name in run.record.models}
    page = _environment().get_template("report.html")
    text = page.render(
        run=run,
        record=run.record,
        gaps={name: gap for name, gap in gaps.items() if gap},
        **_parts(),
    )
    path = Path(folder) / "report.html"
    write_text(path, text)
    return path
