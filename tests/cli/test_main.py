"""The command without a verb."""

from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from hypercover.cli.main import app


def test_the_version_is_said():
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.stdout) == (0, f"hypercover {version('hypercover')}\n")


@pytest.mark.parametrize("verb", [command.name for command in app.registered_commands])
def test_every_verb_shows_an_example(verb):
    said = CliRunner().invoke(app, [verb, "--help"])
    assert said.exit_code == 0
    assert f"Example: hypercover {verb}" in " ".join(said.stdout.split())
