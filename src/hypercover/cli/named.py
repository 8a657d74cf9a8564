"""Giving a named experiment its scene before it is read."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from hypercover.cli.options import run_folder
from hypercover.errors import CallError

__all__ = ["scene_changes"]


def scene_changes(
    experiment: str,
    out: Path | None,
    overrides: Sequence[str],
    *,
    data: Sequence[Path] | None,
    choice: str | None,
) -> list[str]:
    """Return the changes that give a named experiment its scene; none for any other.

    Raises
    ------
    CallError
        If ``--data`` or ``--scene`` is given where the scene is named already.
    """
    from hypercover.cli.progress import bar
    from hypercover.experiment.named import CHOICES, NAMED, Choice, named_scene

    told = [change for change in overrides if change.startswith("scene.path=")]
    if experiment not in NAMED or Path(experiment).is_file() or told:
        if data or choice:
            option = "--scene" if choice else "--data"
            raise CallError(
                f"{option} is for the named experiments ({', '.join(NAMED)}) without a "
                f"scene.path of their own; leave it out for {experiment}."
            )
        return []
    if choice not in (None, *CHOICES):
        raise CallError(f"--scene must be one of {', '.join(CHOICES)}, got {choice}.")
    with bar("Simulating a scene") as advance:
        return named_scene(
            experiment,
            run_folder(out, _name(experiment, overrides)),
            data=data or (),
            choice=cast(Choice, choice or "auto"),
            say=lambda line: print(line, file=sys.stderr, flush=True),
            progress=advance,
        )


def _name(experiment: str, overrides: Sequence[str]) -> str:
    """Return the name of the run, which somebody may have changed."""
    given = [
        change.removeprefix("name=") for change in overrides if change.startswith("name=")
    ]
    return given[-1] if given else experiment
