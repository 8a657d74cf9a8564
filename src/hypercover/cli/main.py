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

from hypercover.cli import libsvm, options
from hypercover.cli.area import area
from hypercover.cli.classify import classify, demo
from hypercover.cli.clip import clip
from hypercover.cli.compare import compare
from hypercover.cli.export import export
from hypercover.cli.features import features
from hypercover.cli.info import info
from hypercover.cli.pansharpen import pansharpen
from hypercover.cli.plan import plan, work
from hypercover.cli.predict import predict
from hypercover.cli.run import gap, report, run
from hypercover.cli.scenes import fetch, scenes
from hypercover.cli.search import search
from hypercover.cli.simulate import simulate
from hypercover.cli.status import logs, status
from hypercover.cli.submit import cancel, resume, submit
from hypercover.cli.terminal import PlainFormatter, guarded_streams, say
from hypercover.cli.windows import windows
from hypercover.errors import CallError, HypercoverError, OutputError

_OPTION = re.compile(
    r"(?<![\w-])(--[a-z][a-z0-9-]*)(?: ([A-Z]{2,}|[^\s,.;:()]+(?:,[^\s,.;:()]+)+))?"
)

_SCENE_KEYS = (
    "axes drop_bands keep_bands label_field label_variable labels label_layer legend min_pixels "
    "nodata variable"
)
_KEYS = {f"--{key.replace('_', '-')}": f"scene.{key}" for key in _SCENE_KEYS.split()}
"""What an experiment file calls what other commands take as options."""


def verbs(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group, each with its full name."""
    members = getattr(command, "commands", None)
    if members is None:
        yield name, command
    for verb, member in (members or {}).items():
        yield from verbs(member, f"{name} {verb}".strip())


def options_of(command: Any) -> frozenset[str]:
    """Return the long options of a command."""
    names = (
        name for param in command.params for name in (*param.opts, *param.secondary_opts)
    )
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
    available = {verb: options_of(command) for verb, command in every.items()}
    own = available[name]

    def as_key(found: re.Match[str]) -> str:
        option, value = found[1], found[2]
        if option in own or option not in _KEYS or "--set" not in own:
            return found[0]
        return f"--set {_KEYS[option]}={value or '…'}"

    message = _OPTION.sub(as_key, message)
    sentences = [message]
    for option in dict.fromkeys(found[1] for found in _OPTION.finditer(message)):
        others = [verb for verb, names in available.items() if option in names]
        if option not in own and others:
            listed = ", ".join(others[:6])
            sentences.append(f"{option} is an option of other commands: {listed}.")
    return " ".join(sentences)


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


def stoppable(verb: Callable[..., None], name: str) -> Callable[..., None]:
    """Return the verb with a message on Ctrl-C and errors that advise its own options.

    It is wrapped inside typer's own handling of Ctrl-C, which prints nothing.
    """
    verb = options.expand_options(verb)

    @wraps(verb)
    def wrapped(**given: object) -> None:
        try:
            verb(**given)
        except HypercoverError as error:
            if error.args and isinstance(error.args[-1], str):
                every = dict(verbs(get_command(app)))
                error.args = (*error.args[:-1], fitting(error.args[-1], name, every))
            raise
        except KeyboardInterrupt:
            say("hypercover: stopped; run the same command again to resume.", err=True)
            raise typer.Exit(130) from None

    return wrapped


_GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Maps": (demo, classify, run, predict, export, report),
    "Data": (info, clip, pansharpen, simulate, scenes, fetch),
    "Features and tuning": (features, search),
    "Accuracy": (gap, compare, area),
    "Clusters": (plan, submit, status, logs, cancel, resume, work),
    "Files of other programs, as in the lecture": (windows,),
}
for panel, members in _GROUPS.items():
    for verb in members:
        name = verb.__name__
        app.command(name=name, rich_help_panel=panel)(stoppable(verb, name))

group = typer.Typer(help=libsvm.HELP, no_args_is_help=True, rich_markup_mode=None)
for verb in libsvm.VERBS:
    name = verb.__name__.rstrip("_")
    group.command(name=name)(stoppable(verb, f"libsvm {name}"))
app.add_typer(group, name="libsvm", rich_help_panel=panel)


def _print_version(given: bool) -> None:
    if given:
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
        callback=_print_version,
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
        try:
            app(prog_name="hypercover")
        except HypercoverError as error:
            # An ``OSError`` puts a number before its sentence.
            sentence = error.args[-1] if error.args else type(error).__name__
            say(f"hypercover: {sentence}", err=True)
            sys.exit(2 if isinstance(error, CallError | OutputError) else 1)
        except MemoryError:
            say(
                "hypercover: out of memory; select fewer bands, "
                "cut the image, or use a larger machine.",
                err=True,
            )
            sys.exit(1)


if __name__ == "__main__":
    main()
