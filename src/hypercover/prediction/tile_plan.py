"""Work on images larger than memory: tiles as tasks of a plan, beside what is made of them."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from hypercover.errors import CallError, RunError, SceneError
from hypercover.features.feature import Progress
from hypercover.files import make_folder, missing_folders, write_json
from hypercover.jobs.executor import Executor
from hypercover.jobs.plan import Arguments, Plan, Registry, Task
from hypercover.jobs.record import read_json
from hypercover.jobs.runner import Event, run_plan
from hypercover.scene.bands import select_bands
from hypercover.scene.inputs import input_identity
from hypercover.scene.io.gdal import gdal_env
from hypercover.scene.io.reading import open_scene
from hypercover.scene.scene import Scene

__all__ = [
    "SceneSource",
    "TileRange",
    "WorkFolder",
    "check_tile_range",
    "plan_key",
    "small_gdal_cache",
    "tile_tasks",
]

_JOB = "job.json"
_TILES = 4
"""Tiles of a task: what is lost at most when a process ends."""
_READ_CACHE = 2**26
"""Bytes of an image's blocks that GDAL may keep in a process."""
_STEPS = 1000


@dataclass(frozen=True)
class SceneSource:
    """An image and how it is read, so that every process opens the same scene."""

    image: str
    """Path of its file."""
    variable: str | None = None
    axes: str | None = None
    keep_bands: str | None = None
    drop_bands: str | None = None
    nodata: str | None = None

    def open(self) -> Scene:
        """Open it; nothing but what describes it is read."""
        scene = open_scene(
            self.image,
            labels=False,
            variable=self.variable,
            axes=self.axes,
            nodata=self.nodata,
        )
        if self.keep_bands or self.drop_bands:
            scene = select_bands(scene, keep=self.keep_bands, drop=self.drop_bands)
        return scene

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, with what changes when the file is replaced."""
        facts = input_identity(Path(self.image).absolute())
        return asdict(self) | {"identity": [list(fact) for fact in facts]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "SceneSource":
        """Return the source that was told, if its file is still the same, touched or not.

        Raises
        ------
        RunError
            If the file has changed since.
        """
        source = cls(**{name: told[name] for name in cls.__dataclass_fields__})
        if source.to_json() != dict(told):
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
    """Refuse numbers of tiles that an image does not have.

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
    """The hidden folder in which tiles are made, beside the file they are for."""

    home: Path
    """Where the plan, the job and the results of the tasks lie."""

    @classmethod
    def of(cls, out: Path) -> "WorkFolder":
        """Return the folder for a file to be written."""
        return cls(out.absolute().with_name(f".{out.name}.work"))

    def run(
        self,
        tasks: Sequence[Task],
        job: Mapping[str, Any],
        executor: Executor,
        registry: Registry,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Have the tasks done by whoever is asked to; return their results.

        Interrupted in any way and called again, it goes on where it was.
        """

        def watch(event: Event) -> None:
            if progress is not None:
                progress(int(_STEPS * event.done), _STEPS)

        return run_plan(
            Plan(tuple(tasks), registry),
            make_folder(self.home),
            executor,
            prepare=lambda: write_json(self.home / _JOB, dict(job)),
            progress=watch,
        )

    def job(self) -> dict[str, Any]:
        """Return what was asked for.

        Raises
        ------
        RunError
            If it cannot be read.
        """
        found = read_json(self.home / _JOB)
        if found is None:
            raise RunError(f"{self.home} holds no job; run the same command again.")
        return found

    @contextmanager
    def left_clean(self) -> Iterator[None]:
        """Leave no folder of work that the image is no good for, which cannot go on."""
        made = missing_folders(self.home)
        try:
            yield
        except (CallError, SceneError):
            self.remove()
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise

    def remove(self) -> None:
        """Remove the folder once the file is whole."""
        shutil.rmtree(self.home, ignore_errors=True)


def plan_key(job: Mapping[str, Any]) -> str:
    """Return a hash of everything that the tiles depend on."""
    return sha256(dumps(job, sort_keys=True).encode()).hexdigest()


def tile_tasks(kind: str, count: int, key: str, needs: tuple[str, ...] = ()) -> list[Task]:
    """Return the tasks that make so many tiles, a few in each."""
    return [
        Task(
            f"tiles-{first}",
            kind,
            {"first": first, "stop": min(first + _TILES, count)},
            needs=needs,
            weight=float(min(_TILES, count - first)),
            key=key,
        )
        for first in range(0, count, _TILES)
    ]


def small_gdal_cache() -> AbstractContextManager[Any]:
    """Return the context in which GDAL keeps little of an image."""
    return gdal_env(GDAL_CACHEMAX=_READ_CACHE)
