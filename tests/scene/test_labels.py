"""Legends of label maps: what is said of classes that only one of the two has."""

import numpy as np
import pytest

from hypercover.scene.labels import LabelMap, legend_of
from hypercover.scene.legend import Legend

CODES = np.array([[1, 4, 0], [4, 4, 1]], np.uint8)


@pytest.mark.parametrize(
    ("given", "in_file", "said"),
    [
        ({1: "Corn", 4: "Woods"}, {}, ()),
        ({1: "Corn", 3: "Road", 4: "Woods"}, {}, ("Road (3).",)),
        ({}, {0: "Unlabelled", 1: "Corn", 4: "Woods", 9: "Water"}, ("Water (9).",)),
        ({3: "Road"}, {3: "Street", 4: "Woods"}, ("No class name is known", "Road (3).")),
    ],
)
def test_classes_of_the_legend_without_a_pixel_are_named_once(given, in_file, said):
    _, notes = legend_of(LabelMap(CODES, names=in_file), Legend.of(given))
    assert len(notes) == len(said)
    for note, words in zip(notes, said, strict=True):
        assert words in note


def test_of_many_empty_classes_the_first_are_named():
    names = {code: f"Kind {code}" for code in range(1, 60)}
    _, (note,) = legend_of(LabelMap(CODES, names=names))
    assert note.startswith("Classes of the legend without a labelled pixel: Kind 2 (2), ")
    assert note.endswith("Kind 10 (10) and 49 more.")
