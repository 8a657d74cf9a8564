"""The names the package promises are the names it has."""

import importlib

import pytest

import hypercover


@pytest.mark.parametrize("name", hypercover.__all__)
def test_every_public_name_can_be_had_and_is_documented(name):
    thing = getattr(hypercover, name)
    assert thing.__doc__
    assert len(thing.__doc__.strip().splitlines()[0]) <= 100


@pytest.mark.parametrize("name", hypercover.__all__)
def test_every_public_name_is_public_where_it_lives(name):
    thing = getattr(hypercover, name)
    home = importlib.import_module(thing.__module__)
    assert thing.__name__ in home.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        hypercover.nonsense  # noqa: B018


def test_listing_shows_the_public_names():
    assert dir(hypercover) == sorted(hypercover.__all__)
