"""The options of ``submit`` and ``resume`` for the resources of a batch job."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

_OPTIONS: Mapping[str, Any] = {
    "partition": Annotated[
        str | None, typer.Option(help="Partition (Slurm) or queue (PBS).")
    ],
    "account": Annotated[str | None, typer.Option(help="Account that is charged.")],
    "time": Annotated[
        str | None,
        typer.Option(
            help="Time limit of an element: 30min, 2h, 01:30:00 (default: 1 h, or three "
            "times what the longest was measured to take)."
        ),
    ],
    "gpus": Annotated[
        int | None,
        typer.Option(min=0, help="GPUs for training and mapping networks (default: 0)."),
    ],
    "cpus": Annotated[
        int | None, typer.Option(min=1, help="Cores of an element (default: 1).")
    ],
    "memory": Annotated[
        str | None,
        typer.Option(
            "--mem",
            help="Memory of an element, such as 4GiB (default: estimated), or none to leave "
            "it to the site.",
        ),
    ],
    "memory_per_cpu": Annotated[
        str | None,
        typer.Option(
            "--mem-per-cpu", help="Memory per core, such as 2GiB, instead of --mem."
        ),
    ],
    "gpu_partition": Annotated[
        str | None,
        typer.Option(
            help="Partition or queue of elements with GPUs (default: --partition)."
        ),
    ],
    "gpu_cpus": Annotated[
        int | None,
        typer.Option(min=1, help="Cores of elements with GPUs (default: --cpus)."),
    ],
    "gpu_memory": Annotated[
        str | None,
        typer.Option("--gpu-mem", help="Memory of elements with GPUs (default: --mem)."),
    ],
    "nodes": Annotated[
        int | None,
        typer.Option(min=1, help="Machines that train each network together (default: 1)."),
    ],
    "array_chunk": Annotated[
        int | None,
        typer.Option(min=1, help="Tasks of an element (default: a few minutes of them)."),
    ],
    "modules": Annotated[
        list[str] | None,
        typer.Option("--module", help="Environment module to load (repeatable)."),
    ],
    "directives": Annotated[
        list[str] | None,
        typer.Option(
            "--directive",
            help="Another option for the batch system: --directive=--constraint=k40 "
            "(repeatable).",
        ),
    ],
}
"""Options by the field of `JobResources` that they set."""


def resource_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a job's resources to a command.

    The command takes those that are given as one mapping ``resources``, by the fields of
    `JobResources`.
    """

    @wraps(command)
    def with_resources(*arguments: Any, **options: Any) -> None:
        values = {name: options.pop(name, None) for name in _OPTIONS}
        given = {name: value for name, value in values.items() if value is not None}
        command(*arguments, resources=given, **options)

    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "resources"]
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
        )
        for name, kind in _OPTIONS.items()
    ]
    vars(with_resources)["__signature__"] = signature.replace(parameters=[*own, *added])
    return with_resources
