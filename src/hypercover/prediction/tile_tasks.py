"""Images larger than memory: their tiles as tasks of a plan, run next to the output file."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from hypercover.errors import CallError, RunError, SceneError
from hypercover.files import make_folder, missing_folders, write_json
from hypercover.jobs.executor import Executor
from hypercover.jobs.plan import Arguments, Plan, Registry, Task
from hypercover.jobs.runner import Event, run_plan
from hypercover.jobs.task_files import read_json
from hypercover.scene.file_identity import recorded_identity
from hypercover.scene.io.reading import open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.selection import select_bands
from hypercover.scene.tile_store import tile_folder
from hypercover.types import Progress

_JOB = "job.json"
_TILES_PER_TASK = 4
"""More would lose more work when a process ends."""
_STEPS = 1000


@dataclass(frozen=True)
class SceneSource:
    """An image and how to read it, so that every process opens the same scene."""

    image: str
    """Path of its file."""
    variable: str | None = None
    axes: str | None = None
    keep_bands: str | None = None
    drop_bands: str | None = None
    nodata: str | None = None

    def open(self) -> Scene:
        """Open the scene; only metadata is read."""
        options = {"variable": self.variable, "axes": self.axes, "nodata": self.nodata}
        scene = open_scene(self.image, labels=False, **options)
        if self.keep_bands or self.drop_bands:
            scene = select_bands(scene, keep=self.keep_bands, drop=self.drop_bands)
        return scene

    def to_json(self) -> dict[str, Any]:
        """Return the source as plain values, with the identity of its file."""
        identity = recorded_identity(Path(self.image).absolute())
        return asdict(self) | {"identity": [list(part) for part in identity]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SceneSource":
        """Return the source of a job, if its file still has the same content.

        Raises
        ------
        RunError
            If the file has changed since.
        """
        source = cls(**{name: values[name] for name in cls.__dataclass_fields__})
        if source.to_json() != dict(values):
            raise RunError(
                f"The image {source.image} has changed since the work began; run the same "
                "command again."
            )
        return source


class TileRange(Arguments):
    """The tiles of a task, from `first` to before `stop`."""

    first: Annotated[int, Field(ge=0, lt=2**40)]
    stop: Annotated[int, Field(ge=0, lt=2**40)]


def check_tile_range(first: int, stop: int, count: int) -> None:
    """Check that an image has the tiles of a task.

    Raises
    ------
    CallError
    """
    if not first < stop <= count:
        raise CallError(
            f"The plan names the tiles {first} to {stop - 1}, and the image has {count}; run "
            "the command that made the plan again."
        )


@dataclass(frozen=True)
class WorkFolder:
    """The folder of the plan of an image's tiles, in the hidden folder that holds the tiles."""

    path: Path
    """Folder of the plan, the job and the results of the tasks."""

    @classmethod
    def of(cls, out: Path) -> "WorkFolder":
        """Return the folder for a file to be written."""
        return cls(tile_folder(out.absolute()) / "tasks")

    def run(
        self,
        tasks: Sequence[Task],
        job: Mapping[str, Any],
        executor: Executor,
        registry: Registry,
        progress: Progress | None = None,
    ) -> None:
        """Run the tasks; an interrupted run resumes."""

        def notify(event: Event) -> None:
            if progress is not None:
                progress(int(_STEPS * event.done), _STEPS)

        plan, folder = Plan(tuple(tasks), registry), make_folder(self.path)
        write_job = partial(write_json, self.path / _JOB, dict(job))
        run_plan(plan, folder, executor, prepare=write_job, progress=notify)

    def job(self) -> dict[str, Any]:
        """Read the settings that all tasks share.

        Raises
        ------
        RunError
            If they cannot be read.
        """
        job = read_json(self.path / _JOB)
        if job is None:
            raise RunError(f"{self.path} holds no job; run the same command again.")
        return job

    @contextmanager
    def removed_on_refusal(self) -> Iterator[None]:
        """Remove the folder if the image or the call is refused, as it cannot resume."""
        made = missing_folders(self.path)
        try:
            yield
        except (CallError, SceneError):
            self.remove()
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise

    def remove(self) -> None:
        """Remove the folder once the output is complete; tiles next to it stay."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()


def plan_key(settings: Mapping[str, Any]) -> str:
    """Return a hash of everything that the tiles depend on."""
    return sha256(dumps(settings, sort_keys=True).encode()).hexdigest()


def make_tasks(kind: str, count: int, key: str, needs: tuple[str, ...] = ()) -> list[Task]:
    """Return the tasks that make a number of tiles, a few tiles each."""
    return [
        Task(
            f"tiles-{first}",
            kind,
            {"first": first, "stop": min(first + _TILES_PER_TASK, count)},
            needs=needs,
            weight=float(min(_TILES_PER_TASK, count - first)),
            key=key,
        )
        for first in range(0, count, _TILES_PER_TASK)
    ]
