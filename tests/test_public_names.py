"""The names the package promises are the names it has."""

import importlib
import inspect
import re
from types import ModuleType

import pytest

import hypercover

NAMESPACES = [
    name for name in hypercover.__all__ if isinstance(getattr(hypercover, name), ModuleType)
]
PUBLIC = [("hypercover", name) for name in hypercover.__all__ if name not in NAMESPACES] + [
    (f"hypercover.{space}", name)
    for space in NAMESPACES
    for name in getattr(hypercover, space).__all__
]


@pytest.mark.parametrize(("space", "name"), PUBLIC)
def test_every_public_name_can_be_had_and_is_documented(space, name):
    thing = getattr(importlib.import_module(space), name)
    assert thing.__doc__
    assert len(thing.__doc__.strip().splitlines()[0]) <= 100


@pytest.mark.parametrize(("space", "name"), PUBLIC)
def test_every_public_name_is_public_where_it_is_defined(space, name):
    thing = getattr(importlib.import_module(space), name)
    if not isinstance(thing, dict):
        assert thing.__name__ in vars(importlib.import_module(thing.__module__))


FUNCTIONS = [
    (space, name)
    for space, name in PUBLIC
    if inspect.isfunction(getattr(importlib.import_module(space), name))
]


@pytest.mark.parametrize(("space", "name"), FUNCTIONS)
def test_every_parameter_of_a_public_function_is_documented(space, name):
    thing = getattr(importlib.import_module(space), name)
    for one in inspect.signature(thing).parameters.values():
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            pattern = rf"(?m)^\s+(?:[\w, ]+, )?{one.name}(?:, [\w, ]+)? ?(:|$)"
            assert re.search(pattern, thing.__doc__), one.name


@pytest.mark.parametrize(("space", "name"), PUBLIC)
def test_every_public_class_and_function_has_an_example(space, name):
    thing = getattr(importlib.import_module(space), name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert re.search(r"(?m)^\s*Examples\n\s*-{8}\n(.*\n)*\s*>>> ", thing.__doc__)


def test_the_root_stays_small():
    assert len(hypercover.__all__) <= 30


def test_the_version_is_that_of_the_package():
    assert hypercover.__version__[0].isdigit()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        hypercover.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "space", ["hypercover", *(f"hypercover.{one}" for one in NAMESPACES)]
)
def test_listing_shows_the_public_names(space):
    module = importlib.import_module(space)
    assert set(module.__all__) <= set(dir(module))
