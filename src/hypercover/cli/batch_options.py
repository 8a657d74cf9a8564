"""Options of submit and resume: what each element of a job array is given."""

from typing import Annotated

import typer

__all__ = [
    "ACCOUNT",
    "ARRAY_CHUNK",
    "CPUS",
    "DIRECTIVE",
    "GPUS",
    "GPU_CPUS",
    "GPU_MEM",
    "GPU_PARTITION",
    "MEM",
    "MEM_PER_CPU",
    "MODULE",
    "NODES",
    "PARTITION",
    "TIME",
]

PARTITION = Annotated[str | None, typer.Option(help="Partition (Slurm) or queue (PBS).")]
ACCOUNT = Annotated[str | None, typer.Option(help="Account that is charged.")]
TIME = Annotated[
    str | None,
    typer.Option(
        help="Time limit of an element: 30min, 2h, 01:30:00 (default: by the estimates, 1 h "
        "at least)."
    ),
]
GPUS = Annotated[
    int | None,
    typer.Option(min=0, help="GPUs for what trains and maps with networks (default: 0)."),
]
CPUS = Annotated[int | None, typer.Option(min=1, help="Cores of an element (default: 1).")]
MEM = Annotated[
    str | None,
    typer.Option(
        help="Memory of an element, such as 4GiB (default: by the estimates), or none to "
        "leave it to the site."
    ),
]
MEM_PER_CPU = Annotated[
    str | None, typer.Option(help="Memory for each core, such as 2GiB, instead of --mem.")
]
GPU_PARTITION = Annotated[
    str | None,
    typer.Option(
        help="Partition or queue of what is given GPUs (default: --partition); nothing else "
        "goes there."
    ),
]
GPU_CPUS = Annotated[
    int | None,
    typer.Option(min=1, help="Cores of what is given GPUs (default: --cpus)."),
]
GPU_MEM = Annotated[
    str | None,
    typer.Option(help="Memory of what is given GPUs (default: --mem)."),
]
NODES = Annotated[
    int | None,
    typer.Option(min=1, help="Machines that train each network together (default: 1)."),
]
ARRAY_CHUNK = Annotated[
    int | None,
    typer.Option(min=1, help="Tasks of an element (default: about 5 minutes of them)."),
]
MODULE = Annotated[
    list[str] | None, typer.Option(help="Environment module to load; may stand twice.")
]
DIRECTIVE = Annotated[
    list[str] | None,
    typer.Option(
        help="One more option for the batch system: --directive=--constraint=k40."
    ),
]
