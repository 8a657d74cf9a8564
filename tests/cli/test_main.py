"""The command without a verb."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import hypercover
from hypercover.cli.main import app, fitting, options_of, verbs
from hypercover.errors import SceneError


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
        ("run", ["--set", "models.cnn.network=defualt"], "No network named 'defualt'"),
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
    monkeypatch.setattr("hypercover.experiment.config.presets.write_simulated", None)
    told = call(verb, "lecture-small", "--scene", "simulated", *options)
    assert said in told.sentence
    assert not list(tmp_path.iterdir())


EVERY = dict(verbs(get_command(app)))

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@cache
def advised():
    """All options that sentences of errors and notes name, with the sentence."""
    found = {}
    for file in Path(hypercover.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            words = getattr(node, "value", None)
            if isinstance(words, str) and " " in words and file.parent.name != "cli":
                found |= dict.fromkeys(OPTION.findall(words), words)
    return found


@pytest.mark.parametrize("name", EVERY)
def test_every_option_that_is_named_exists_or_is_told_to_be_elsewhere(name):
    everywhere = frozenset().union(*map(options_of, EVERY.values()))
    own = options_of(EVERY[name])
    for option, words in advised().items():
        if option not in everywhere:
            continue
        said = fitting(f"Something is wrong; say which with {option} NAME.", name, EVERY)
        if option in own:
            assert said.endswith(f"say which with {option} NAME."), words
        else:
            assert (
                f"{option} is an option of other commands" in said or "--set scene." in said
            )


def test_an_experiment_takes_keys():
    told = "say which with --axes, for example --axes row,col,band."
    assert fitting(told, "run", EVERY) == (
        "say which with --set scene.axes=…, for example --set scene.axes=row,col,band."
    )
    assert fitting(told, "info", EVERY) == told


def test_a_list_of_any_names_is_the_value_of_a_key():
    told = "name them with --variable B1,Band_2,rote Kante,B4."
    assert fitting(told, "run", EVERY) == (
        "name them with --set scene.variable=B1,Band_2,rote Kante,B4."
    )


def test_keys_that_are_advised_are_those_of_an_experiment():
    from hypercover.cli import main
    from hypercover.experiment.config.schema import SceneSpec

    keys = {key.removeprefix("scene.") for key in main._KEYS.values()}
    assert keys <= set(SceneSpec.model_fields)


def test_axes_that_are_not_clear_are_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((20, 22, 21), "f4"))
    done = CliRunner().invoke(
        app, ["info", str(tmp_path / "a.npy"), "-o", str(tmp_path / "o")]
    )
    assert isinstance(done.exception, SceneError)
    assert "--axes row,col,band" in str(done.exception)


def test_the_help_groups_all_verbs_and_cuts_no_sentence(call):
    shown = call("--help").out
    for verb, command in get_command(app).commands.items():
        first = command.help.partition("\n\n")[0].split()
        assert " ".join([verb, *first[:6]]) in " ".join(shown.split()), verb
    assert "..." not in shown.partition("Maps:")[2]
    assert shown.count(":\n") >= 6


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_verbs(shell, tmp_path):
    environment = os.environ | {
        "_HYPERCOVER_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "hypercover cl",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "hypercover cl",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = "import sys; sys.argv = ['hypercover']; from hypercover.cli.main import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert "classify" in answer.stdout
    assert "clip" in answer.stdout


def test_the_command_is_a_module_too():
    """Scripts of jobs call it so where the command is not installed."""
    call = [sys.executable, "-m", "hypercover.cli.main", "--version"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hypercover ")
