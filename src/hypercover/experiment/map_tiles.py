"""Predicting the tiles of a map in many processes, each tile a file."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hypercover.experiment.mapping import Mapping, memory_left
from hypercover.experiment.mosaic import (
    Mosaic,
    Source,
    TileRange,
    check_tiles,
    key_of,
    tile_tasks,
)
from hypercover.features.feature import Progress
from hypercover.files import modified
from hypercover.jobs.executor import Executor
from hypercover.jobs.registry import Registry, TaskKind
from hypercover.maps.kept_tiles import KeptTiles
from hypercover.memory import peak_bytes
from hypercover.scene.inputs import known_inputs
from hypercover.scene.tile_store import inputs_of

__all__ = ["REGISTRY", "predict_ahead", "predict_some"]

Report = Callable[[float, str], None]

REGISTRY = Registry(
    "hypercover.experiment.map_tiles:REGISTRY",
    {"predict_some": TaskKind("hypercover.experiment.map_tiles:predict_some", TileRange)},
)
"""The kind of task that predicts tiles."""


def _silent(_share: float, _what: str) -> None:
    """Report to nobody."""


def predict_ahead(
    mapping: Mapping,
    source: Source,
    target: Path,
    layers: Sequence[str],
    *,
    model: Path,
    executor: Executor,
    device: str = "auto",
    memory: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Have all tiles of a map predicted and kept, for `predict_to_files` to find.

    Parameters
    ----------
    target : the map that will be written
    layers : in the order in which they will be asked for
    memory : bytes that each process may take
    """
    levels = mapping.levels()
    # This process predicts nothing: the bound is that of those who do.
    kept = _kept(mapping, mapping.seen(levels=levels), target, layers, None)
    kept.store.begin()
    job = {
        "source": source.to_json(),
        "model": str(model.absolute()),
        "target": str(target.absolute()),
        "layers": list(layers),
        "device": device,
        "memory": memory,
        "overlap": mapping.overlap,
        "levels": levels,
    }
    depends = {"identity": mapping.identity, "layers": list(layers)}
    tasks = tile_tasks(
        "predict_some",
        len(kept.predictor.tiles()),
        key_of(depends),
    )
    place = Mosaic.of(target)
    place.run(tasks, job, executor, REGISTRY, progress)
    place.remove()


def predict_some(
    folder: Path, *, first: int, stop: int, report: Report = _silent
) -> dict[str, Any]:
    """Predict and keep some tiles of a map, as the job in a folder says."""
    home = folder.resolve()
    kept = _opened(home, modified(home / "job.json"))
    check_tiles(first, stop, len(kept.predictor.tiles()))
    new = kept.predict(
        range(first, stop), lambda done, total: report(done / total, "predicting")
    )
    return {"predicted": new, "peak": peak_bytes()}


@lru_cache(maxsize=1)
def _opened(home: Path, _changed: int) -> KeptTiles:
    """Open model and scene once for all tiles that a process predicts."""
    job = Mosaic(home).job()
    target = Path(job["target"])
    with known_inputs(inputs_of(target)):
        scene = Source.from_json(job["source"]).open()
        mapping = Mapping.of(
            Path(job["model"]), scene, device=job["device"], overlap=job["overlap"]
        )
    seen = mapping.seen(levels=job["levels"])
    kept = _kept(mapping, seen, target, job["layers"], job["memory"])
    kept.store.begin()
    return kept


def _kept(
    mapping: Mapping, seen: Any, target: Path, layers: Sequence[str], memory: int | None
) -> KeptTiles:
    return KeptTiles.of(
        mapping.bundle.classifier,
        seen,
        target,
        layers,
        identity=mapping.identity or {},
        memory=memory_left(memory),
        temperature=mapping.bundle.temperature,
    )
