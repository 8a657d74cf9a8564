"""The command ``hypercover``: its verbs, and what an error looks like."""

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from hypercover.cli import (
    area,
    classify,
    clip,
    compare,
    demo,
    export,
    features,
    gap,
    info,
    libsvm,
    pansharpen,
    predict,
    run,
    scenes,
    search,
    simulate,
    windows,
)
from hypercover.cli.cluster import cancel, plan, status, submit, work
from hypercover.cli.terminal import PlainFormatter, guarded_streams, say
from hypercover.errors import CallError, HypercoverError, OutputError

_OPTION = re.compile(
    r"(?<![\w-])(--[a-z][a-z0-9-]*)(?: ([A-Z]{2,}|[^\s,.;:()]+(?:,[^\s,.;:()]+)+))?"
)

_KEYS = {
    "--axes": "scene.axes",
    "--drop-bands": "scene.drop_bands",
    "--keep-bands": "scene.keep_bands",
    "--label-field": "scene.label_field",
    "--label-variable": "scene.label_variable",
    "--labels": "scene.labels",
    "--label-layer": "scene.label_layer",
    "--legend": "scene.legend",
    "--min-pixels": "scene.min_pixels",
    "--nodata": "scene.nodata",
    "--variable": "scene.variable",
}
"""What an experiment file calls what other commands take as options."""


def verbs(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group, each with its full name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for verb, one in inner.items():
        yield from verbs(one, f"{name} {verb}".strip())


def options_of(command: Any) -> frozenset[str]:
    """Return the long options of a command."""
    names = (name for one in command.params for name in (*one.opts, *one.secondary_opts))
    return frozenset(name for name in names if name.startswith("--"))


def fitting(message: str, name: str, every: Mapping[str, Any]) -> str:
    """Return a message that only advises options the command has.

    Readers of images are called by many commands; some take everything from an
    experiment file, and others have fewer options.

    Parameters
    ----------
    message : str
    name : str
        Name of the command that was called, such as ``libsvm write``.
    every : mapping
        All commands by name, as :func:`verbs` gives them.
    """
    known = {verb: options_of(command) for verb, command in every.items()}
    own = known[name]

    def said(found: re.Match[str]) -> str:
        option, value = found[1], found[2]
        if option in own or option not in _KEYS or "--set" not in own:
            return found[0]
        return f"--set {_KEYS[option]}={value or '…'}"

    message = _OPTION.sub(said, message)
    lacking = dict.fromkeys(
        found[1] for found in _OPTION.finditer(message) if found[1] not in own
    )
    told = []
    for option in lacking:
        having = [verb for verb, options in known.items() if option in options]
        if having:
            listed = ", ".join(having[:6])
            told.append(f"{option} is an option of other commands: {listed}.")
    return " ".join([message, *told])


class GroupedCommands(TyperGroup):
    """A command whose help lists its verbs in groups, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group of verbs."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None)
            heading = heading if isinstance(heading, str) else "Commands"
            paragraph = inspect.cleandoc(command.help or "").partition("\n\n")[0]
            sections.setdefault(heading, []).append((name, " ".join(paragraph.split())))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


app = typer.Typer(
    name="hypercover",
    help="Land-cover maps from hyperspectral images, with an accuracy that can be believed.",
    cls=GroupedCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _fit_advice(error: HypercoverError, name: str) -> None:
    """Let an error only advise options of the command of this name."""
    if error.args and isinstance(error.args[-1], str):
        every = dict(verbs(get_command(app)))
        error.args = (*error.args[:-1], fitting(error.args[-1], name, every))


def stoppable(verb: Callable[..., None], name: str) -> Callable[..., None]:
    """Return the verb with a message on Ctrl-C and errors that advise its own options.

    It is wrapped inside typer's own handling of Ctrl-C, which prints nothing.
    """

    @wraps(verb)
    def stopped_gently(*given: object, **options: object) -> None:
        try:
            verb(*given, **options)
        except HypercoverError as error:
            _fit_advice(error, name)
            raise
        except KeyboardInterrupt:
            say("hypercover: stopped; run the same command again to resume.", err=True)
            raise typer.Exit(130) from None

    return stopped_gently


_GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "Maps": {
        "demo": demo.command,
        "classify": classify.command,
        "run": run.command,
        "predict": predict.command,
        "export": export.command,
        "report": run.report,
    },
    "Data": {
        "info": info.command,
        "clip": clip.command,
        "pansharpen": pansharpen.command,
        "simulate": simulate.command,
        "scenes": scenes.command,
        "fetch": scenes.fetch,
    },
    "Features and tuning": {"features": features.command, "search": search.command},
    "Accuracy": {"gap": gap.command, "compare": compare.command, "area": area.command},
    "Clusters": {
        "plan": plan.command,
        "submit": submit.command,
        "status": status.command,
        "logs": status.logs,
        "cancel": cancel.command,
        "resume": submit.resume,
        "work": work.command,
    },
    "Files of other programs, as in the lecture": {"windows": windows.command},
}
for panel, commands in _GROUPS.items():
    for verb, run_verb in commands.items():
        app.command(name=verb, rich_help_panel=panel)(stoppable(run_verb, verb))

group = typer.Typer(help=libsvm.HELP, no_args_is_help=True, rich_markup_mode=None)
for verb, run_verb in libsvm.VERBS.items():
    group.command(name=verb)(stoppable(run_verb, f"libsvm {verb}"))
app.add_typer(group, name="libsvm", rich_help_panel=panel)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"hypercover {version('hypercover')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(
        False,
        "--version",
        help="Show the version and exit.",
        # Before a missing command is complained about.
        is_eager=True,
        callback=_say_version,
    ),
) -> None:
    """Define the options of ``hypercover`` itself."""


def main() -> None:
    """Run the command; exit with 0 (done), 1 (run failed), 2 (wrong call) or 130 (stopped)."""
    # Threads that wait must sleep: spinning ones double the time on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with guarded_streams():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PlainFormatter())
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        _answer()


def _answer() -> None:
    """Run a verb and turn an error into a sentence and an exit code."""
    try:
        app(prog_name="hypercover")
    except HypercoverError as error:
        say(f"hypercover: {sentence(error)}", err=True)
        sys.exit(2 if isinstance(error, CallError | OutputError) else 1)
    except MemoryError:
        say(
            "hypercover: the memory of this machine does not suffice; select fewer bands, "
            "cut the image, or use a larger machine.",
            err=True,
        )
        sys.exit(1)


def sentence(error: HypercoverError) -> str:
    """Return an error's sentence without the number an ``OSError`` puts before it."""
    return str(error.args[-1]) if error.args else type(error).__name__
