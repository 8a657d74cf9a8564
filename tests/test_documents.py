"""What the documents promise is there: files, commands, options and keys."""

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from hypercover.cli.main import app
from hypercover.experiment.config import schema

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
LINKS = [
    (name, link)
    for name, text in TEXTS.items()
    for link in re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", text)
    if "://" not in link
]
SHOWN = [
    shown
    for text in TEXTS.values()
    for block in re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    for shown in block.splitlines()
] + [shown for text in TEXTS.values() for shown in re.findall(r"(?<!`)`([^`]+)`", text)]
CALLS = sorted(
    {
        " ".join(shown.removeprefix("hypercover ").split())
        for shown in SHOWN
        if shown.startswith("hypercover ")
    }
)


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(("name", "link"), LINKS)
def test_every_link_leads_somewhere(name, link):
    file, _, anchor = link.partition("#")
    target = (ROOT / name).parent / file if file else ROOT / name
    assert target.exists()
    if anchor:
        assert anchor in anchors(target.read_text("utf-8"))


@pytest.mark.parametrize("call", CALLS)
def test_every_command_and_option_exists(call):
    command, words = get_command(app), shlex.split(call)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands
        command = command.commands[words.pop(0)]
    options = {name for one in command.params for name in one.opts} | {"--help"}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in options


def keys(spec: type[BaseModel]) -> set[str]:
    return set(spec.model_fields) - {"kind"}


def test_the_page_on_experiments_names_every_key():
    text = TEXTS["docs/experiment.md"]
    named = set(re.findall(r"`([A-Za-z0-9_.]+)(?:: [^`]+)?`", text))
    specs = [
        *get_args(get_args(schema.SplitSpec)[0]),
        schema.SVMSpec,
        schema.CNNSpec,
        schema.SklearnSpec,
    ]
    wanted = {key for spec in specs for key in keys(spec)}
    wanted |= {f"scene.{key}" for key in keys(schema.SceneSpec)}
    wanted |= {f"search.{key}" for key in keys(schema.SearchSpec)}
    wanted |= keys(schema.Experiment) - {"scene"}
    assert wanted <= named
    assert {name for name in named if name.startswith(("scene.", "search."))} <= wanted


@pytest.mark.parametrize(
    "block",
    [
        block
        for text in TEXTS.values()
        for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ],
)
def test_every_experiment_shown_is_valid(block):
    schema.Experiment.model_validate(yaml.safe_load(block))
