"""``hypercover report``: the report of a run, written again."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.terminal import say

__all__ = ["command"]


def command(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write the report of a finished run again, as one offline HTML file.

    Example: hypercover report runs/demo
    """
    from hypercover.experiment.results.outputs import renew_report

    say(f"Report: {renew_report(run)}")
