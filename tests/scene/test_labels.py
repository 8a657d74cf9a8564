"""Legends of label maps: what is said of classes that only one of the two has."""

import numpy as np
import pytest

from hypercover.errors import LabelError
from hypercover.scene.labels import LabelMap, legend_of, match_classes
from hypercover.scene.legend import Legend
from hypercover.scene.selection import drop_classes

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


def test_classes_that_differ_in_case_or_spaces_are_pointed_out():
    _, notes = legend_of(LabelMap(CODES, names={1: "Bare soil", 4: "bare-Soil"}))
    assert notes == (
        "Classes whose names differ in case or spaces only: 'Bare soil', "
        "'bare-Soil'; if they are one class, give it one name.",
    )


def matched(codes, names, legend, *, nominal=False, **options):
    """Match labels of some codes; return the code that each takes, and the notes."""
    labels = LabelMap(
        np.array([codes], np.uint8),
        names=names,
        nominal=frozenset(codes if nominal else ()),
    )
    found = match_classes(labels, Legend.of(legend), "the table", **options)
    return dict(zip(codes, found.codes[0].tolist(), strict=True)), found


class TestMatching:
    """By name first, by code second."""

    @pytest.mark.parametrize("nominal", [True, False])
    def test_names_win_over_codes(self, nominal):
        taken, found = matched(
            [1, 2], {1: "forest", 2: " WATER"}, {1: "water", 2: "forest"}, nominal=nominal
        )
        assert taken == {1: 2, 2: 1}
        assert found.names == {1: "water", 2: "forest"}

    def test_codes_serve_where_the_labels_have_no_names(self):
        taken, found = matched([1, 7], {}, {1: "water", 2: "forest"})
        assert taken == {1: 1, 7: 7}
        assert found.names == {1: "water", 2: "forest", 7: "Class 7"}
        assert found.notes == (
            "Classes matched with the table by code: water (1).",
            "Classes that the table lacks, with their new codes: Class 7 (7).",
        )

    def test_a_translation_goes_by_code(self):
        names, legend = {1: "Wasser", 2: "Wald"}, {1: "water", 2: "forest"}
        taken, found = matched([1, 2], names, legend)
        assert taken == {1: 1, 2: 2}
        assert "water (1, here Wasser)" in found.notes[0]

    def test_a_name_that_only_one_side_has_is_no_other_class(self):
        """Bare took the code of Water from a reference in which other names agree."""
        names = {1: "Corn", 2: "Woods", 3: "Bare"}
        legend = {1: "Corn", 2: "Woods", 3: "Water"}
        taken, found = matched([1, 2, 3], names, legend)
        assert taken == {1: 1, 2: 2, 3: 4}
        assert found.names[4] == "Bare"
        taken, found = matched([1, 2, 3], names, legend, renames=True)
        assert taken == {1: 1, 2: 2, 3: 3}
        assert found.names[3] == "Water"

    def test_names_that_hold_numbers(self):
        assert matched([1, 10], {}, {1: "1", 2: "10"})[0] == {1: 1, 10: 2}

    def test_two_classes_become_one_where_the_table_has_one(self):
        taken, found = matched(
            [1, 2], {1: "Forest", 2: "forest"}, {5: "forest"}, nominal=True
        )
        assert taken == {1: 5, 2: 5}
        assert (
            "One class of the table for several of the labels: Forest, forest = 5."
            in found.notes
        )

    def test_names_alone_that_match_nothing_are_refused(self):
        with pytest.raises(
            LabelError, match=r"No class of the labels \(a, b\).*water, forest"
        ):
            matched([1, 2], {1: "a", 2: "b"}, {1: "water", 2: "forest"}, nominal=True)

    def test_a_new_class_never_takes_a_code_of_the_legend(self):
        taken, _ = matched([1, 2], {1: "a", 2: "b"}, {1: "b", 3: "c"}, nominal=True)
        assert taken == {1: 4, 2: 1}


class TestClassZero:
    """0 is a class where a raster declares another value for no data."""

    @pytest.mark.parametrize("nodata", [255, -1, -9999])
    def test_it_takes_the_code_after_the_largest(self, nodata):
        values = np.array([[0, 1, 3], [nodata, 0, 1]], np.int16)
        found = LabelMap.of(values, "a.tif", nodata=nodata)
        assert found.codes.tolist() == [[4, 1, 3], [0, 4, 1]]
        legend, notes = legend_of(found)
        assert legend.names == ("Class 1", "Class 3", "Class 0")
        assert notes == ("Code 4 (Class 0) is 0 in the labels.",)
        assert f"declares {nodata} as no data, so 0 is a class" in found.notes[0]

    def test_a_nan_for_no_data(self):
        values = np.array([[0.0, 1.0, np.nan]])
        assert LabelMap.of(values, "a", nodata=float("nan")).codes.tolist() == [[2, 1, 0]]

    @pytest.mark.parametrize("nodata", [None, 0])
    def test_0_means_unlabelled_else(self, nodata):
        values = np.array([[0, 1, 3]], np.uint8)
        assert LabelMap.of(values, "a", nodata=nodata).codes.tolist() == [[0, 1, 3]]

    @pytest.mark.parametrize("name", ["Unclassified", "no data", "Background"])
    def test_a_name_may_say_that_it_is_none(self, name):
        values = np.array([[0, 1, 255]], np.uint8)
        found = LabelMap.of(values, "a", nodata=255, names={0: name, 1: "Corn"})
        assert found.codes.tolist() == [[0, 1, 0]]
        assert found.names == {1: "Corn"}

    def test_its_name_and_colour_stay_its_own(self):
        values = np.array([[0, 1, 255]], np.uint8)
        found = LabelMap.of(
            values, "a", nodata=255, names={0: "Water"}, colors={0: "#0000ff"}
        )
        assert found.names[2] == "Water"
        assert found.colors[2] == "#0000ff"

    def test_the_same_class_of_a_reference_with_fewer_classes_is_found_by_name(self):
        """By number, 0 of the reference took the code of class 3 of the map."""
        first = LabelMap.of(np.array([[0, 1, 3]], np.uint8), "map", nodata=255)
        legend, _ = legend_of(first)
        second = LabelMap.of(np.array([[0, 1, 2]], np.uint8), "reference", nodata=255)
        assert match_classes(second, legend, "the map").codes.tolist() == [[4, 1, 2]]


def test_the_largest_number_of_a_type_is_noted_as_likely_no_data():
    values = np.array([[1, 2, 255, 255]], np.uint8)
    found = LabelMap.of(values, "a.tif")
    assert found.notes == (
        "2 pixels of a.tif are 255, which is taken as a class; if it marks no data, declare "
        "that (gdal_edit.py -a_nodata 255).",
    )
    assert LabelMap.of(values, "a.tif", nodata=255).codes.tolist() == [[1, 2, 0, 0]]
    assert not LabelMap.of(values, "a.tif", names={255: "Snow"}).notes
    assert not LabelMap.of(np.array([[200, 255]], np.uint8), "a.tif").notes


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
        ({"min_pixels": 19}, "No class of small remains: the largest has 18 pixels"),
    ],
)
def test_what_cannot_be_dropped(labelled, options, message):
    with pytest.raises(LabelError, match=message):
        drop_classes(labelled, **options)


def test_labels_are_needed(scene):
    with pytest.raises(LabelError, match="has no labels"):
        drop_classes(scene, min_pixels=2)
