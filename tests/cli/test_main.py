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


@pytest.mark.parametrize(
    ("verb", "options", "said"),
    [
        ("run", ["--set", "models.cnn.network=defualt"], "no network named 'defualt'"),
        ("run", ["--set", "models.cnnn.epochs=5"], "models.cnnn.kind must be one of"),
        ("run", ["--set", "features.lecture=kpca:5,asdap"], "asdap"),
        ("run", ["--set", "models.svm.c=5"], "models.svm.c is an unknown key"),
        ("search", ["--set", "search.fold=5"], "did you mean folds?"),
        ("gap", ["--train", "2"], "split.train"),
    ],
)
def test_what_could_run_on_no_scene_is_refused_before_one_is_simulated(
    call, tmp_path, monkeypatch, verb, options, said
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hypercover.experiment.named.write_simulated", None)
    told = call(verb, "lecture-small", "--scene", "simulated", *options)
    assert said in told.sentence
    assert not list(tmp_path.iterdir())
