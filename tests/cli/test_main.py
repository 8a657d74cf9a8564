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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "cuda"], "PyTorch finds no usable GPU here"),
        (["--device", "cpu", "--processes", "40"], "need 80 windows for it"),
    ],
)
def test_a_demo_that_cannot_be_leaves_nothing(call, tmp_path, monkeypatch, options, said):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told = call("demo", "--out", tmp_path / "demo", *options)
    assert said in told.sentence
    assert not list(tmp_path.iterdir())
