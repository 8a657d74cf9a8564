"""Options that several commands share, so that they mean the same everywhere.

The constants are options one by one; the dataclasses hold options that belong together, and
`expand_options` makes an option of a command of each of their fields.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from typer import Argument, Option

from hypercover.cli.terminal import bar, say
from hypercover.errors import CallError

if TYPE_CHECKING:
    from hypercover.experiment.config.schema import Experiment
    from hypercover.jobs.executor import Executor
    from hypercover.scene.scene import Scene
    from hypercover.splits.split import Split

    Adapt = Callable[[Experiment], Experiment]

IMAGE = Annotated[
    Path, Argument(help="The image: .mat, .hdr, .tif, .lan, .h5, .nc, .npz …")
]
LABELS = Annotated[
    Path | None,
    Option(
        "--labels",
        "-l",
        help="Labels: a raster on the image's grid or a vector file; none: ignore labels in the "
        "image file.",
    ),
]
VARIABLE = Annotated[
    str | None, Option(help="Variable that holds the image, if the file has several.")
]
LABEL_VARIABLE = Annotated[
    str | None, Option(help="Variable that holds the labels, if the file has several.")
]
AXES = Annotated[
    str | None, Option(help="Order of the axes in the file, such as row,col,band.")
]
NODATA = Annotated[
    list[str] | None,
    Option(
        help="A value that means no data, besides those the file declares (repeatable); "
        "all-zero: pixels that are 0 in all bands; none: ignore what the file declares."
    ),
]
LABEL_FIELD = Annotated[
    str | None, Option(help="Attribute of a vector file that holds the class.")
]
LABEL_LAYER = Annotated[str | None, Option(help="Layer of a vector file that has several.")]
DROP_BANDS = Annotated[
    str | None,
    Option(help="Bands to drop: 104-108,220 or 1350-1430nm or water-absorption or bad."),
]
KEEP_BANDS = Annotated[
    str | None, Option(help="Bands to keep: 1-103,109-149 or 400-900nm (default: all).")
]
SEED = Annotated[int, Option(min=0, help="Seed of all random draws.")]
WORKERS = Annotated[
    int | None,
    Option(
        min=1, help="Processes that share the work (default: 1, or all cores for repeats)."
    ),
]
EXECUTOR = Annotated[
    str | None,
    Option(
        help="What runs the tasks: inprocess, local or dask (default: local with several "
        "workers, otherwise this process)."
    ),
]
DASK = Annotated[
    str | None,
    Option(
        help="Dask scheduler: tcp://host:8786, its scheduler file, slurm, pbs-pro or "
        "pbs-torque (default: workers on this machine)."
    ),
]
DEVICE = Annotated[str, Option(help="auto, cpu or cuda.")]
PROCESSES = Annotated[
    int | None,
    Option(
        min=1, help="Processes that train each network together, with a GPU or cores each."
    ),
]
EXPERIMENT = Annotated[str, Argument(help="An experiment file, or a built-in name.")]
GRID = Annotated[
    bool, Option("--search", help="The grid search of the experiment instead of its run.")
]
PREPARED = Annotated[
    Path, Argument(help="Folder of a run, or search/ in it.", show_default=False)
]
RUN_FOLDER = Annotated[Path | None, Option("--out", "-o", help="Folder of the run.")]
IMAGE_OUT = Annotated[
    Path, Option("--out", "-o", help="Image to write: .tif, .hdr (ENVI) or .h5.")
]
CHAIN = Annotated[str | None, Option(help="Image features instead of bands: kpca:5,esdap.")]


def expand_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Return a command with an option for each field of its dataclass parameters.

    Examples
    --------
    >>> def verb(out: str, split_options: SplitOptions) -> None: ...
    >>> list(inspect.signature(expand_options(verb)).parameters)
    ['out', 'split', 'train', 'halves']
    """
    signature = inspect.signature(verb, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups = {}
    for name, parameter in signature.parameters.items():
        group = parameter.annotation
        if not is_dataclass(group):
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            continue
        groups[name] = cast(type[Any], group)
        parameters += [
            parameter.replace(
                name=field.name,
                kind=parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )
            for field in fields(group)
        ]

    @wraps(verb)
    def expanded(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(
                **{field.name: options.pop(field.name) for field in fields(group)}
            )
        verb(**options)

    vars(expanded)["__signature__"] = signature.replace(parameters=parameters)
    return expanded


@dataclass(frozen=True)
class ImageOptions:
    """How an image is read, and labels in the same file."""

    variable: VARIABLE = None
    label_variable: LABEL_VARIABLE = None
    axes: AXES = None
    nodata: NODATA = None


@dataclass(frozen=True)
class SceneOptions(ImageOptions):
    """How the files of a scene are read, and which of its bands are taken."""

    label_field: LABEL_FIELD = None
    label_layer: LABEL_LAYER = None
    legend: Annotated[
        Path | None, Option(help="Table of code, name and color (CSV, YAML or JSON).")
    ] = None
    keep_bands: KEEP_BANDS = None
    drop_bands: DROP_BANDS = None

    def open(self, image: Path, labels: Path | None, *, warn: bool = True) -> "Scene":
        """Open a scene with its bands selected; with ``warn``, print what may be no data."""
        from hypercover.scene.io.reading import open_scene
        from hypercover.scene.selection import select_bands

        options = asdict(self)
        keep, drop = options.pop("keep_bands"), options.pop("drop_bands")
        scene = open_scene(image, labels, **options)
        if warn:
            warn_of_fill(scene)
        return select_bands(scene, keep=keep, drop=drop) if keep or drop else scene


def warn_of_fill(*scenes: "Scene") -> None:
    """Print what may be undeclared no data, where the notes of a scene are not shown."""
    from hypercover.scene.nodata import fill_notes

    for scene in scenes:
        say(*(f"Note: {scene.name}: {note}" for note in fill_notes(scene.notes)))


def join_nodata(nodata: Sequence[str] | None) -> str | None:
    """Return the values of ``--nodata`` as one text, as tasks keep them."""
    return ",".join(nodata) if nodata else None


@dataclass(frozen=True)
class SplitOptions:
    """Which pixels train: those of a saved split, or some that are drawn."""

    split: Annotated[
        Path | None,
        Option(help="A saved split, runs/NAME/split.tif, whose parts are recorded."),
    ] = None
    train: Annotated[
        str | None,
        Option(help="Draw training pixels: a share (0.1) or a number of each class."),
    ] = None
    halves: Annotated[
        str, Option(help="Half a pixel of --train counts as: even (2.5 are 2) or up (3).")
    ] = "even"

    def open(self, scene: "Scene", seed: int) -> "Split | None":
        """Open or draw the split, if there is to be one.

        Raises
        ------
        CallError
            If both options are given, or the split is damaged or of another size.
        """
        if self.split is not None and self.train is not None:
            raise CallError(
                "--split and --train both say which pixels train; give one of them."
            )
        if self.split is not None:
            from hypercover.splits.split import Split

            split = Split.load(self.split.parent, self.split.stem)
            split.samples("train", scene.usable_labels)
            return split
        if self.train is None:
            return None
        from hypercover.splits.random_split import RandomSplit

        if self.halves not in ("even", "up"):
            raise CallError(f"--halves takes even or up, got {self.halves!r}.")
        try:
            share = int(self.train) if self.train.isdigit() else float(self.train)
        except ValueError as error:
            raise CallError(
                "--train takes a share such as 0.1 or a number of pixels of each class, got "
                f"{self.train!r}."
            ) from error
        halves = cast(Literal["even", "up"], self.halves)
        return RandomSplit(train=share, halves=halves).split(scene.usable_labels, seed=seed)


@dataclass(frozen=True)
class ExperimentOptions:
    """Changes to an experiment, and where a named one looks for its scene."""

    set_: Annotated[
        list[str] | None, Option("--set", help="Change one value: key.inner=value.")
    ] = None
    data: Annotated[
        list[Path] | None,
        Option(
            "--data",
            help="Folder to look for the scene of a named experiment (default: "
            "$HYPERCOVER_DATA, ./data, ., ~/hypercover).",
        ),
    ] = None
    scene: Annotated[
        str | None,
        Option(
            help="Scene of a named experiment: real, stand-in or simulated (default: the "
            "first available one)."
        ),
    ] = None
    seed: Annotated[int | None, Option(min=0, help="Seed instead of the file's.")] = None

    def overrides(self, run: "RunOptions | None" = None) -> list[str]:
        """Return all changes to the experiment file as ``--set`` writes them.

        Examples
        --------
        >>> ExperimentOptions(["map=false"], seed=0).overrides(RunOptions(processes=2))
        ['map=false', 'seed=0', 'processes=2']
        """
        options: dict[str, object] = {"seed": self.seed}
        if run is not None:
            options |= {"device": run.device or None, "processes": run.processes}
        given = [f"{key}={value}" for key, value in options.items() if value is not None]
        return [*(self.set_ or []), *given]

    def load(
        self,
        experiment: str,
        out: Path | None,
        run: "RunOptions | None" = None,
        adapt: "Adapt" = lambda loaded: loaded,
    ) -> "tuple[Experiment, Path]":
        """Load an experiment and name its run folder; a named one is given its scene.

        A named experiment on a scene of the user's own (``scene.path``) leaves out what that
        scene does not allow, and says so.  ``adapt`` returns the experiment that will be
        run, where it is another.

        Raises
        ------
        CallError
            If ``--data`` or ``--scene`` is given though the experiment has a scene, or the
            experiment could run on no scene at all.
        """
        from hypercover.experiment.config import experiment_check, presets
        from hypercover.experiment.config.experiment_file import load_experiment

        overrides = self.overrides(run)
        own = any(change.startswith("scene.path=") for change in overrides)
        named = experiment in presets.NAMED and not Path(experiment).is_file()
        if named and not own:
            if self.scene not in (None, *presets.CHOICES):
                raise CallError(
                    f"--scene must be one of {', '.join(presets.CHOICES)}, got {self.scene}."
                )
            check_without_scene(experiment, overrides, adapt)
            names = [text[5:] for text in overrides if text.startswith("name=")]
            with bar("Simulating a scene") as advance:
                scene = presets.named_scene(
                    experiment,
                    run_folder(out, names[-1] if names else experiment),
                    data=self.data or (),
                    choice=cast(presets.Choice, self.scene or "auto"),
                    say=partial(say, err=True),
                    progress=advance,
                )
            loaded = load_experiment(experiment, [*scene, *overrides])
        elif self.data or self.scene:
            raise CallError(
                f"{'--scene' if self.scene else '--data'} is for the named experiments "
                f"({', '.join(presets.NAMED)}) without a scene.path of their own; leave it out "
                f"for {experiment}."
            )
        else:
            loaded = load_experiment(experiment, overrides)
            if named:
                experiment_check.check_models(adapt(loaded))
                loaded = experiment_check.drop_unusable_parts(loaded)
                say(*(f"Note: {note}" for note in loaded.notes), err=True)
        loaded = adapt(loaded)
        return loaded, run_folder(out, loaded.name)


def check_without_scene(
    experiment: str, overrides: Sequence[str], adapt: "Adapt" = lambda loaded: loaded
) -> None:
    """Raise what a built-in experiment would fail of on any scene, before there is one."""
    from hypercover.experiment.config.experiment_check import check_models
    from hypercover.experiment.config.experiment_file import built_in, load_experiment

    # A file that exists stands for the scene.
    file = built_in()[experiment]
    scene = [f"scene.path={file}", f"scene.labels={file}"]
    check_models(adapt(load_experiment(experiment, [*scene, *overrides])))


def run_folder(out: Path | None, name: str) -> Path:
    """Return the folder of a run: ``--out``, or else one of its name."""
    return out or Path("runs") / name


@dataclass(frozen=True)
class ResourceOptions:
    """The resources of a batch job; each field is one of `JobResources`."""

    partition: Annotated[str | None, Option(help="Partition (Slurm) or queue (PBS).")] = (
        None
    )
    account: Annotated[str | None, Option(help="Account that is charged.")] = None
    time: Annotated[
        str | None,
        Option(
            help="Time limit of an element: 30min, 2h, 01:30:00 (default: 1 h, or three "
            "times what the longest was measured to take)."
        ),
    ] = None
    gpus: Annotated[
        int | None,
        Option(min=0, help="GPUs for training and mapping networks (default: 0)."),
    ] = None
    cpus: Annotated[int | None, Option(min=1, help="Cores of an element (default: 1).")] = (
        None
    )
    memory: Annotated[
        str | None,
        Option(
            "--mem",
            help="Memory of an element, such as 4GiB (default: estimated), or none to leave "
            "it to the site.",
        ),
    ] = None
    memory_per_cpu: Annotated[
        str | None,
        Option("--mem-per-cpu", help="Memory per core, such as 2GiB, instead of --mem."),
    ] = None
    gpu_partition: Annotated[
        str | None,
        Option(help="Partition or queue of elements with GPUs (default: --partition)."),
    ] = None
    gpu_cpus: Annotated[
        int | None, Option(min=1, help="Cores of elements with GPUs (default: --cpus).")
    ] = None
    gpu_memory: Annotated[
        str | None,
        Option("--gpu-mem", help="Memory of elements with GPUs (default: --mem)."),
    ] = None
    nodes: Annotated[
        int | None,
        Option(min=1, help="Machines that train each network together (default: 1)."),
    ] = None
    array_chunk: Annotated[
        int | None,
        Option(min=1, help="Tasks of an element (default: a few minutes of them)."),
    ] = None
    modules: Annotated[
        list[str] | None,
        Option("--module", help="Environment module to load (repeatable)."),
    ] = None
    directives: Annotated[
        list[str] | None,
        Option(
            "--directive",
            help="Another option for the batch system: --directive=--constraint=k40 "
            "(repeatable).",
        ),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def choose_executor(
    kind: str | None, *, workers: int | None = None, dask: str | None = None
) -> "Executor | None":
    """Return the executor of a run; None if no option asks for one.

    Parameters
    ----------
    kind : inprocess, local (processes) or dask; or None
    workers : number of processes or workers that are started for the run
    dask : scheduler of Dask (`hypercover.jobs.dask_executor.DaskExecutor`); implies the
        executor ``dask``.  Workers that are jobs of a batch system are given the
        resources in ``site.yaml``

    Raises
    ------
    CallError
        If the executor is unknown, options contradict each other, or no scheduler answers.

    Examples
    --------
    >>> choose_executor(None) is None, type(choose_executor("local")).__name__
    (True, 'LocalExecutor')
    """
    if kind is None and dask is None:
        return None
    kind, kinds = kind or "dask", ("inprocess", "local", "dask")
    if kind not in kinds:
        raise CallError(f"There is no executor {kind!r}; use one of {', '.join(kinds)}.")
    if dask is not None and kind != "dask":
        raise CallError(
            f"--dask needs the executor dask, but --executor is {kind}; leave out one of them."
        )
    if kind == "inprocess" and (workers or 1) > 1:
        raise CallError(
            f"The executor inprocess does one task at a time, but --workers is {workers}; "
            "use --executor local."
        )
    if kind == "dask":
        from hypercover.experiment.config.site import site_defaults, update_resources
        from hypercover.jobs.dask_executor import DaskExecutor, check_scheduler

        on_site = dask is not None and "://" not in dask
        resources = update_resources(site_defaults()[1], {}) if on_site else None
        check_scheduler(dask)
        return DaskExecutor(dask, workers=workers, resources=resources)
    from hypercover.jobs.executor import InProcessExecutor
    from hypercover.jobs.local import LocalExecutor

    return InProcessExecutor() if kind == "inprocess" else LocalExecutor(workers)


@dataclass(frozen=True)
class RunOptions:
    """What does the tasks of an experiment, and what networks are trained on."""

    workers: WORKERS = None
    executor: EXECUTOR = None
    dask: DASK = None
    device: DEVICE = ""
    processes: PROCESSES = None

    def choose_executor(self) -> "Executor | None":
        """Return the executor; None if no option asks for one."""
        return choose_executor(self.executor, workers=self.workers, dask=self.dask)


@dataclass(frozen=True)
class TileOptions:
    """What computes the tiles of an image."""

    workers: Annotated[
        int | None,
        Option(min=1, help="Processes that share the tiles (default: this one)."),
    ] = None
    executor: EXECUTOR = None
    dask: DASK = None
    overlap: Annotated[
        int | None,
        Option(
            min=0,
            help="Overlap in pixels for attribute profiles computed tile by tile: for images "
            "larger than memory; the result is nearly the same.",
        ),
    ] = None

    def choose_executor(self) -> "Executor | None":
        """Return the executor: ``--workers`` alone asks for local processes."""
        local = "local" if self.workers and self.dask is None else None
        return choose_executor(self.executor or local, workers=self.workers, dask=self.dask)


@dataclass(frozen=True)
class CleaningOptions:
    """How a class map is cleaned, and the area it is cut to."""

    majority: Annotated[
        int, Option(help="Majority filter: side of its square in pixels (3, 5 …).")
    ] = 1
    sieve: Annotated[
        int, Option(help="Merge regions of fewer pixels into their largest neighbour.")
    ] = 1
    within: Annotated[
        Path | None,
        Option(help="Area to map: polygons, or a raster on its grid; no data outside."),
    ] = None
    within_layer: Annotated[
        str | None, Option(help="Layer of --within, if it has several.")
    ] = None
