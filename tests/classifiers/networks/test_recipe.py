import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hypercover.classifiers.networks.network_catalog import NETWORKS
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.errors import ModelError

ROOT = Path(__file__).parents[3]
PLAIN = Recipe("sgd", 1.0, "inverse", "squared", 50, 600)
GOOD = {
    "optimiser": "adamw",
    "learning_rate": 0.5,
    "schedule": "cosine",
    "loss": "cross-entropy",
    "batch_size": 7,
    "passes": None,
    "pace": 3.0,
    "decay": 0.5,
    "warm_up": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.1,
    "clip": 1,
    "class_weight": "balanced",
    "label_smoothing": 0.1,
    "symmetries": True,
    "jitter": 0.1,
    "band_dropout": 0.2,
    "mix": 0.4,
    "patience": 3,
}
BAD = {
    "optimiser": ["adam", None, 1, ["sgd"]],
    "learning_rate": [0, -1, math.inf, math.nan, None, "high", True, 1e42],
    "schedule": ["linear", None],
    "loss": ["hinge"],
    "batch_size": [0, 2.5, None, True, "64", 10**21],
    "passes": [0, 1.5, 10**21],
    "pace": [-1, None, 1e300],
    "decay": [-1e-9, math.nan, 1e7],
    "warm_up": [-0.1, 1, "all"],
    "momentum": [1, -0.1, None],
    "weight_decay": [-1, 1e42],
    "clip": [0, -1, math.inf, 1e42],
    "class_weight": ["equal", {}, 0],
    "label_smoothing": [1, -0.1],
    "symmetries": [1, 0, None, "yes"],
    "jitter": [-1, math.inf],
    "band_dropout": [1, -0.5],
    "mix": [-1, None, 1e300],
    "patience": [0, 1.5, True, 10**21],
}


def test_every_field_can_be_changed_and_no_other_changes_with_it():
    assert {field.name for field in fields(Recipe)} == set(GOOD) == set(BAD)
    for name, value in GOOD.items():
        changed = PLAIN.changed({name: value})
        assert getattr(changed, name) == value
        assert changed.changed({name: getattr(PLAIN, name)}) == PLAIN
    assert Recipe(**GOOD) == PLAIN.changed(GOOD)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, bad in BAD.items() for value in bad]
)
def test_values_that_no_training_can_use_are_refused_in_one_sentence(name, value):
    with pytest.raises(ModelError) as refused:
        PLAIN.changed({name: value})
    sentence = str(refused.value)
    said = "epochs" if name == "passes" else name.replace("_", " ")
    assert sentence.startswith(f"The {said} must be ")
    assert repr(value)[:40] in sentence
    assert sentence.endswith(".")


@given(st.one_of(st.text(), st.binary(), st.dictionaries(st.text(), st.none()), st.none()))
def test_no_field_takes_whatever_comes(value):
    for name in GOOD:
        try:
            changed = PLAIN.changed({name: value})
        except ModelError:
            continue
        assert getattr(changed, name) is value is None


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("learning_rate", "1e-3", "; write it as 0.001."),
        ("learning_rate", "2e-7", "; write it as 2.0e-07."),
        ("learning_rate", "1e20", "; write it as 1.0e+20."),
        ("batch_size", "1e2", "; write it as 100."),
        ("batch_size", "1.5", "."),
        ("mix", "1e300", "."),
        ("mix", "much", "."),
        ("pace", "nan", "."),
        ("symmetries", "1", "."),
    ],
)
def test_a_number_that_yaml_reads_as_text_is_told_how_to_be_written(name, text, hint):
    with pytest.raises(ModelError) as refused:
        PLAIN.changed({name: text})
    assert str(refused.value).endswith(f"got {text!r}{hint}")
    if len(hint) > 1:
        number = yaml.safe_load(hint.removeprefix("; write it as ").removesuffix("."))
        assert getattr(PLAIN.changed({name: number}), name) == float(text)


@pytest.mark.parametrize(
    ("own", "named", "words"),
    [
        ({"optimiser": "adamw"}, "momentum", "only with optimiser sgd, and its .* adamw;"),
        (
            {"optimiser": "sgd"},
            "weight_decay",
            "only with optimiser adamw, and its .* sgd;",
        ),
        ({"schedule": "cosine"}, "decay", "only with schedule inverse, and its .* cosine;"),
        ({"passes": 3}, "pace", "only with passes None, and its passes is 3;"),
    ],
)
def test_a_field_that_counts_for_nothing_is_refused_where_it_was_named(own, named, words):
    recipe = PLAIN.changed({**own, named: 0.5})
    with pytest.raises(ModelError, match=f"{words} change that or leave {named} out"):
        recipe.check_effective([named])
    recipe.check_effective(set(GOOD) - {named})
    PLAIN.changed(own | {named: 0}).check_effective([named])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_field_of_a_networks_own_recipe_counts(name):
    NETWORKS[name].recipe.check_effective(GOOD)


def test_an_unknown_field_is_refused_with_those_there_are():
    with pytest.raises(ModelError, match=r"no field 'epochs'; its fields are optimiser, "):
        PLAIN.changed({"epochs": 3})
    with pytest.raises(ModelError, match="must be a mapping of fields to values"):
        PLAIN.changed([("mix", 0.1)])


def shown(value):
    """A value as the page on training shows it."""
    if value is True:
        return "yes"
    return f"{value:g}" if isinstance(value, float) and value else str(value or "–")


def test_the_page_on_training_tells_every_field_of_every_network():
    page = (ROOT / "docs/training.md").read_text("utf-8")
    table = page[page.index("| field ") :].split("\n\n")[0]
    head, _, *rows = table.splitlines()
    networks = re.findall(r"`([^`]+)`", head)
    assert networks[:2] == ["default", "lecture"]
    told = {row.split("|")[1].strip(" `"): row.split(" | ")[2:] for row in rows}
    for field in fields(Recipe):
        cells = [cell.strip(" |") for cell in told[field.name]]
        wanted = [shown(getattr(NETWORKS[name].recipe, field.name)) for name in networks]
        assert cells == wanted, field.name
