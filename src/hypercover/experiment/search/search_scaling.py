"""How a grid search scales with more workers.

The lecture's comparison has two parts: (1) the best cell, whose folds and pairs of classes
are computed by several threads of one process, and (2) all cells, whose rows are computed by
several processes of one thread each.  Each is measured in processes of its own, so that
nothing is cached from before, and saved, so that an interrupted measurement resumes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from hypercover.errors import CallError, RunError, counted
from hypercover.experiment.config.builders import fingerprint
from hypercover.experiment.config.experiment_file import dump, load_experiment
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.run import check_search, run_search
from hypercover.experiment.search.search_tasks import searched_grids
from hypercover.files import csv_text, make_folder, write_json
from hypercover.jobs.local import LocalExecutor, thread_limits

_MOST = 1024
_GAIN = 1.05
"""Speed-up below which a search is too small to gain from more workers."""


class _Measured(BaseModel, extra="forbid", frozen=True):
    """One search as it was measured."""

    key: str
    processor_seconds: float = Field(alias="processor", ge=0, allow_inf_nan=False)
    wall_seconds: float = Field(alias="wall", gt=0, allow_inf_nan=False)
    accuracy: float = Field(ge=0, le=1)
    C: float = Field(gt=0, allow_inf_nan=False)
    gamma: float = Field(gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class ScalingRow:
    """One line of the comparison: so many cells, by so many workers."""

    model: str
    """Name of the SVM in the experiment."""
    folds: str
    """Kind of the folds: random, blocks or clusters."""
    cells: str
    """``best`` or ``all``."""
    workers: int
    """Threads on the best cell; processes of one thread on all cells."""
    C: float
    """C of the best cell."""
    gamma: float
    """gamma of the best cell."""
    accuracy: float
    """Share of the held-out samples that the best cell classifies correctly."""
    processor_seconds: float
    """Processor time of the cells, over all threads."""
    wall_seconds: float
    """Time during which a cell was being computed."""
    speed_up: float
    """Processor seconds of one worker over the wall seconds of these workers."""

    @property
    def efficiency(self) -> float:
        """Speed-up over workers.

        Examples
        --------
        >>> ScalingRow("svm", "random", "all", 4, 100.0, 0.1, 0.9, 31.0, 10.0, 3.0).efficiency
        0.75
        """
        return self.speed_up / self.workers

    @property
    def gains(self) -> bool:
        """Whether more workers than one made it faster."""
        return self.workers == 1 or self.speed_up >= _GAIN


def measure_scaling(
    experiment: Experiment,
    folder: str | Path,
    workers: Sequence[int],
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[ScalingRow]:
    """Measure the search of every SVM under the first kind of folds by 1 and more workers.

    Parameters
    ----------
    experiment : Experiment
    folder : the run folder; measurements are kept below ``scaling/``
    workers : numbers of workers; 1 is measured in any case
    progress : called with a line before each measurement

    Raises
    ------
    CallError
        If a number of workers is out of range, or the experiment cannot be searched.
    RunError
        If a search fails.
    """
    counts = sorted({1, *workers})
    if counts[0] < 1 or counts[-1] > _MOST:
        raise CallError(
            f"The numbers of workers must lie from 1 to {_MOST}, got "
            f"{', '.join(map(str, workers))}; write for example 1,2,4."
        )
    check_search(experiment)
    by = experiment.search.by[0]
    rows: list[ScalingRow] = []
    for model in dict.fromkeys(model for model, _ in searched_grids(experiment)):
        grid = _alone(experiment, model)
        home = Path(folder).absolute() / "scaling" / model
        all_cells = {n: _measured(grid, home / f"all-{n}", n, progress) for n in counts}
        best = {"C": [all_cells[1].C], "gamma": [all_cells[1].gamma]}
        cell = grid.model_copy(update={"search": grid.search.model_copy(update=best)})
        best_cell = {n: _measured(cell, home / f"best-{n}", n, progress) for n in counts}
        for cells, measured in (("best", best_cell), ("all", all_cells)):
            rows += [
                ScalingRow(
                    model=model,
                    folds=by,
                    cells=cells,
                    workers=n,
                    speed_up=measured[1].processor_seconds / result.wall_seconds,
                    **result.model_dump(exclude={"key"}),
                )
                for n, result in measured.items()
            ]
    return rows


def _alone(experiment: Experiment, model: str) -> Experiment:
    """Return the search of one model under the first kind of folds."""
    search = experiment.search.model_copy(update={"by": experiment.search.by[:1]})
    models = {model: experiment.models[model]}
    return experiment.model_copy(update={"models": models, "search": search, "beside": {}})


def _measured(
    experiment: Experiment, place: Path, workers: int, progress: Callable[[str], None]
) -> _Measured:
    """Search in processes of their own; a measurement that was made before is kept."""
    all_cells = place.name.startswith("all")
    threads, processes = (1, workers) if all_cells else (workers, 1)
    parts = (*experiment.models.values(), experiment.search, experiment.features, workers)
    key, kept = fingerprint(experiment, *parts), place.with_suffix(".json")
    try:
        before = _Measured.model_validate_json(kept.read_bytes())
        if before.key == key:
            return before
    except (OSError, ValidationError):
        pass
    cells = "all cells" if all_cells else "the best cell"
    progress(f"{place.parent.name}: {cells} by {counted(workers, 'worker')}")
    make_folder(place)
    dump(experiment, place / "experiment.yaml")
    command = [sys.executable, "-P", "-m", __name__, str(place), str(processes)]
    limited = os.environ | thread_limits(threads)
    done = subprocess.run(command, env=limited, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise RunError(f"The search by {workers} workers failed: {last[:300]}")
    measured = _Measured(key=key, **json.loads(done.stdout.splitlines()[-1]))
    write_json(kept, measured.model_dump(by_alias=True))
    return measured


def scaling_csv(rows: Sequence[ScalingRow]) -> str:
    """Return the comparison as CSV, one line for each number of workers."""
    columns = (*asdict(rows[0]), "efficiency")
    lines = ((*asdict(row).values(), row.efficiency) for row in rows)
    return csv_text([columns, *lines])


def main() -> None:
    """Search what lies in a folder by so many processes, and print what it took."""
    place, workers = Path(sys.argv[1]), int(sys.argv[2])
    experiment = load_experiment(place / "experiment.yaml")
    executor = LocalExecutor(workers, threads=1) if workers > 1 else None
    # In a new folder, as the cells of an earlier search would be taken over unmeasured.
    with TemporaryDirectory(dir=place) as work:
        table: dict[str, Any] = run_search(experiment, work, executor=executor)["tables"][0]
    measured = {name: table["best"][name] for name in ("accuracy", "C", "gamma")}
    measured |= {"processor": table["serial_seconds"], "wall": table["wall_seconds"]}
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
