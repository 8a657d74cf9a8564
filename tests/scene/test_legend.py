"""Colours of classes by their names: what people expect, and apart from one another."""

import colorsys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercover.scene.labels import LabelMap, legend_of
from hypercover.scene.legend import (
    class_colors,
    color_distance,
    cover_color,
    default_color,
)


def hue(color):
    return 360 * colorsys.rgb_to_hsv(*(part / 255 for part in bytes.fromhex(color[1:])))[0]


@pytest.mark.parametrize(
    ("color", "names"),
    [
        (
            "#0064c8",
            ["water", "Wasser", "Gewässer", "eau", "agua", "acqua", "água", "Wasserfläche"],
        ),
        (
            "#006400",
            [
                "forest",
                "Wald",
                "forêt",
                "bosque",
                "bosco",
                "floresta",
                "Trees",
                "Woods",
                "woodland",
            ],
        ),
        (
            "#b4b4b4",
            ["bare soil", "Boden", "sol nu", "suelo desnudo", "suolo", "solo exposto"],
        ),
        (
            "#f096ff",
            [
                "crops",
                "Acker",
                "Ackerland",
                "cultures",
                "cultivos",
                "seminativi",
                "lavoura",
                "Corn-notill",
                "Winterweizen",
            ],
        ),
        (
            "#fa0000",
            [
                "built-up",
                "Siedlung",
                "zone urbaine",
                "edificios",
                "edifici",
                "edifícios",
                "Gebäude",
                "Buildings",
            ],
        ),
        ("#f0f0f0", ["snow", "Schnee", "neige", "nieve", "neve"]),
        (
            "#80c800",
            ["Laubwald", "deciduous forest", "forêt de feuillus", "Broad_leaved forest"],
        ),
        ("#00a600", ["Nadelwald", "coniferous forest", "forêt de conifères", "pinar"]),
        (None, ["Class 7", "B 12", "", "x", "42"]),
    ],
)
def test_covers_are_known_in_several_languages(color, names):
    assert {name: cover_color(name) for name in names} == dict.fromkeys(names, color)


def test_forest_is_green_water_blue_and_buildings_red():
    """Forest was red, water orange, buildings green."""
    colors = class_colors({1: "buildings", 2: "forest", 3: "water"})
    assert hue(colors[2]) == pytest.approx(120, abs=10)
    assert hue(colors[3]) == pytest.approx(210, abs=10)
    assert min(hue(colors[1]), 360 - hue(colors[1])) < 30


def test_classes_of_one_cover_take_shades_of_it():
    names = ["Buche", "Eiche", "Fichte", "Kiefer", "Mischwald", "Wald"]
    colors = class_colors(dict(enumerate(names, 1)))
    assert all(70 <= hue(color) <= 160 for color in colors.values())


WORDS = [
    "water",
    "river",
    "lake",
    "forest",
    "Laubwald",
    "Nadelwald",
    "Mischwald",
    "built-up",
    "road",
    "crops",
    "maize",
    "wheat",
    "grass",
    "meadow",
    "shrubs",
    "bare",
    "rock",
    "sand",
    "snow",
    "wetland",
    "vineyard",
    "orchard",
    "plot a",
    "plot b",
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=2, max_size=10, unique=True))
def test_the_colour_blind_tell_them_apart(names):
    colors = class_colors(dict(enumerate(names, 1)))
    apart = [color_distance(one, other) for one, other in combinations(colors.values(), 2)]
    assert min(apart) >= 7


def test_distances_are_those_of_cie_lab():
    """Red and green of one lightness are far apart, and near without the pigment for red."""
    assert color_distance("#ffffff", "#000000") == pytest.approx(100, abs=0.1)
    assert color_distance("#777777", "#787878") < 1
    assert color_distance("#fa0000", "#006400") < 10
    assert color_distance("#0064c8", "#006400") > 40


def test_a_colour_that_is_given_stays():
    colors = class_colors({1: "water", 2: "forest"}, {1: "#006400"})
    assert colors[1] == "#006400"
    assert color_distance(colors[1], colors[2]) >= 7


def test_names_that_say_nothing_keep_the_palette():
    names = {1: "a1", 4: "b2"}
    assert class_colors(names) == {1: default_color(0), 4: default_color(1)}


def test_labels_take_them_where_their_file_has_none():
    labels = LabelMap(
        np.array([[1, 2]], np.uint8), names={1: "Wald", 2: "See"}, colors={2: "#111111"}
    )
    legend, _ = legend_of(labels)
    assert (legend[1].color, legend[2].color) == ("#006400", "#111111")
