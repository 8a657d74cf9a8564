"""Classes left out by code, by name and by size."""

import numpy as np
import pytest

from hypercover.errors import LabelError
from hypercover.scene.classes import drop_classes
from hypercover.scene.legend import Legend

NAMES = Legend.of({1: "Corn", 2: "Woods", 5: "Oats"})


@pytest.fixture
def labelled(scene, codes):
    """Corn on 9 pixels, woods on 18, oats on one."""
    return scene.with_labels(codes, NAMES)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"codes": [1]}, (2, 5)),
        ({"names": ["woods ", "OATS"]}, (1,)),
        ({"min_pixels": 9}, (1, 2)),
        ({"min_pixels": 10}, (2,)),
        ({"codes": [1], "min_pixels": 2}, (2,)),
        ({}, (1, 2, 5)),
    ],
)
def test_only_the_others_stay(labelled, codes, options, left):
    found = drop_classes(labelled, **options)
    assert found.legend.codes == left
    np.testing.assert_array_equal(found.labels, np.where(np.isin(codes, left), codes, 0))
    assert found.labels.dtype == codes.dtype


def test_what_went_is_named(labelled):
    note = drop_classes(labelled, min_pixels=10).notes[-1]
    assert note == "Classes left out: Corn (9 pixels), Oats (1 pixels)."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codes": [3]}, "no class with code 3; its codes are 1, 2, 5"),
        ({"names": ["Rye"]}, "no class named 'Rye'; its classes are Corn, Woods, Oats"),
        ({"min_pixels": 19}, "No class of small is left: the largest has 18 pixels"),
    ],
)
def test_what_cannot_be_dropped(labelled, options, message):
    with pytest.raises(LabelError, match=message):
        drop_classes(labelled, **options)


def test_labels_are_needed(scene):
    with pytest.raises(LabelError, match="has no labels"):
        drop_classes(scene, min_pixels=2)
