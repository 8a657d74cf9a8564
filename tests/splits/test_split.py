"""A split is one map of parts, proved disjoint, that can be saved and compared."""

import json
import resource
import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercover.errors import LabelError, OutputError, SplitError
from hypercover.files import read_checksummed
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import PARTS, Split, check_labels, check_trainable

PART_MAPS = arrays(
    np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 4)
)
SOME_LABELS = np.array([[1, 1, 2, 2], [7, 3, 3, 0]])


@given(PART_MAPS)
def test_parts_and_masks_are_two_views_of_one_thing(parts):
    split = Split(parts)
    rebuilt = Split.from_parts(**{part: split.mask(part) for part in PARTS[1:]})
    np.testing.assert_array_equal(rebuilt.parts, parts)
    assert sum(split.count(part) for part in PARTS) == parts.size


@given(st.lists(arrays(bool, (4, 5)), min_size=4, max_size=4))
def test_parts_that_share_a_pixel_are_refused_and_others_taken(masks):
    named = dict(zip(("train", "validation", "test", "guard"), masks, strict=True))
    if np.sum(masks, axis=0).max() > 1:
        with pytest.raises(SplitError, match="must be disjoint"):
            Split.from_parts(**named)
    else:
        split = Split.from_parts(**named)
        assert all((split.mask(part) == mask).all() for part, mask in named.items())


def test_the_error_counts_the_shared_pixels_and_names_the_parts():
    with pytest.raises(SplitError, match="but train and test share 2 pixels"):
        Split.from_parts(train=[[1, 1, 1]], test=[[0, 1, 1]])
    with pytest.raises(SplitError, match="but test and guard share 1 pixel"):
        Split.from_parts(train=[[0, 0]], test=[[1, 0]], guard=[[1, 0]])


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(SplitError, match="one size"):
        Split.from_parts(train=[[1, 0]], test=[[0], [1]])


@pytest.mark.parametrize(
    "parts",
    [np.zeros(4, np.uint8), np.zeros((2, 2), int), np.full((2, 2), 5, np.uint8)],
    ids=["one axis", "wide type", "unknown code"],
)
def test_a_map_with_other_codes_is_refused(parts):
    with pytest.raises(SplitError, match="codes from 0 to 4"):
        Split(parts)


def test_a_split_cannot_be_changed_through_the_map_it_was_made_of():
    parts = np.array([[1, 3]], dtype=np.uint8)
    split = Split(parts)
    parts[:] = 3
    assert split.count("train") == 1
    with pytest.raises(ValueError, match="read-only"):
        split.parts[0, 0] = 3


def test_equal_splits_are_equal_and_hash_alike():
    one, same = (Split(np.array([[1, 3]], np.uint8), seed=1) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Split(np.array([[1, 3]], np.uint8), seed=2)
    assert one != Split(np.array([[1], [3]], np.uint8), seed=1)
    assert one != "a split"


def test_the_shape_is_part_of_the_digest():
    flat, tall = (Split(np.zeros(shape, np.uint8)) for shape in ((1, 4), (4, 1)))
    assert flat.digest != tall.digest


def test_samples_leave_out_unlabelled_pixels():
    split = Split(np.ones((2, 4), np.uint8))
    assert split.samples("train", SOME_LABELS).labels.tolist() == [1, 1, 2, 2, 7, 3, 3]


def test_labels_of_another_size_and_unknown_parts_are_refused():
    split = Split(np.ones((2, 4), np.uint8))
    with pytest.raises(SplitError, match="2 × 4 pixels, the labels are 3 × 3"):
        split.samples("train", np.ones((3, 3), int))
    with pytest.raises(SplitError, match="got 'tests'"):
        split.mask("tests")


def test_unscored_classes_are_named_with_their_reason():
    parts = np.array([[1, 3, 1, 1], [0, 3, 3, 0]], np.uint8)
    legend = Legend.of({1: "Corn", 2: "Oats", 3: "Woods", 7: "Lake", 9: "Road"})
    assert Split(parts).unscored(SOME_LABELS, legend) == [
        (2, "no test pixel"),
        (3, "no training pixel: its test pixels count as errors"),
        (7, "only one labelled pixel"),
        (9, "no labelled pixel"),
    ]


def test_a_class_in_neither_part_is_named():
    parts = np.array([[1, 3, 0, 4], [0, 1, 3, 0]], np.uint8)
    assert (2, "no training and no test pixel") in Split(parts).unscored(SOME_LABELS)


def test_counts_of_each_class_cover_classes_that_are_not_in_the_part():
    parts = np.array([[1, 3, 1, 1], [0, 3, 3, 0]], np.uint8)
    assert Split(parts).per_class("train", SOME_LABELS) == {1: 1, 2: 2, 3: 0, 7: 0}


def test_the_json_object_follows_the_metrics_file(labels):
    split = RandomSplit(train=0.3, validation=0.2).split(labels, seed=4, window=7)
    told = json.loads(json.dumps(split.to_json(labels), allow_nan=False))
    assert (told["kind"], told["window"]) == ("random", 7)
    assert told["settings"] == {"train": 0.3, "validation": 0.2, "halves": "even"}
    for part in ("train", "validation", "test", "guard"):
        assert told[part]["count"] == split.count(part)
        assert sum(told[part]["per_class"].values()) == split.count(part)
    assert set(told["leakage"]) == {"1", "3", "5", "7", "9", "15"}
    assert told["leakage"]["1"] == {"centre_in_window": 0.0, "window_overlap": 0.0}
    assert told["unscored"] == []


def test_the_json_object_names_unscored_classes():
    parts = np.array([[1, 3, 1, 1], [0, 3, 3, 0]], np.uint8)
    told = Split(parts).to_json(SOME_LABELS, Legend.of({2: "Oats", 9: "Road"}))
    assert told["unscored"][0] == {"code": 2, "name": "Oats", "reason": "no test pixel"}
    assert told["unscored"][-1]["name"] == "Road"


def test_a_split_of_land_without_a_place_is_saved_without_a_warning(tmp_path, labels):
    split = RandomSplit().split(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split.save(tmp_path)
        assert Split.load(tmp_path) == split


def test_saving_and_loading_gives_an_equal_split(tmp_path, labels):
    split = RandomSplit(validation=0.2).split(labels, seed=4, window=3)
    split.save(tmp_path)
    assert Split.load(tmp_path) == split


@given(parts=PART_MAPS, seed=st.integers(0, 2**32 - 1), note=st.text())
def test_any_split_survives_the_files(tmp_path_factory, parts, seed, note):
    folder = tmp_path_factory.mktemp("split")
    split = Split(parts, kind="masks", seed=seed, settings={"a": [1, None]}, notes=(note,))
    split.save(folder, "main-3")
    assert Split.load(folder, "main-3") == split


def test_the_map_is_a_georeferenced_picture_of_the_parts(tmp_path, labels):
    split = RandomSplit().split(labels)
    with rasterio.open(
        tmp_path / "any.tif", "w", "GTiff", 1, 1, 1, "EPSG:32616", dtype="uint8"
    ) as file:
        crs = file.crs.to_wkt()
    grid = Grid(*split.shape, crs, (20.0, 0.0, 5e5, 0.0, -20.0, 4.4e6))
    split.save(tmp_path, grid=grid)
    with rasterio.open(tmp_path / "split.tif") as file:
        assert file.crs.to_epsg() == 32616
        assert tuple(file.transform)[:6] == grid.transform
        assert file.colormap(1)[1][:3] == (0x00, 0x72, 0xB2)
        np.testing.assert_array_equal(file.read(1), split.parts)


def test_the_json_file_counts_classes_and_names_them(tmp_path, labels):
    split = RandomSplit().split(labels)
    legend = Legend.of({code: f"Class {code}" for code in range(1, 6)})
    split.save(tmp_path, legend=legend, labels=labels)
    told = json.loads((tmp_path / "split.json").read_text())
    assert told["parts"]["test"]["count"] == split.count("test")
    counts = {int(code): n for code, n in told["parts"]["test"]["per_class"].items()}
    assert counts == split.per_class("test", labels)
    assert Legend.from_json(told["classes"]) == legend


def test_a_disk_that_fills_up_on_closing_is_noticed(tmp_path):
    """A limit on the size of a file stands for a full disk, of which GDAL says nothing."""
    train = np.random.default_rng(0).random((200, 200)) < 0.5
    split = Split.from_parts(train=train, test=~train)
    split.save(tmp_path / "whole")
    size = (tmp_path / "whole" / "split.tif").stat().st_size
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (100, size // 2, size - 10):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
        try:
            with pytest.raises(OutputError, match="free some space"):
                split.save(tmp_path / "cut")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        assert list((tmp_path / "cut").iterdir()) == []


def test_a_grid_of_another_size_is_refused(tmp_path, labels):
    with pytest.raises(SplitError, match="the grid is 3 × 4"):
        RandomSplit().split(labels).save(tmp_path, grid=Grid(3, 4))


@pytest.fixture
def saved(tmp_path, labels):
    RandomSplit().split(labels).save(tmp_path)
    return tmp_path


def test_a_changed_map_is_noticed(saved):
    with rasterio.open(saved / "split.tif", "r+") as file:
        file.write(np.ones(file.shape, np.uint8), 1)
    with pytest.raises(SplitError, match="SHA-256"):
        Split.load(saved)


@pytest.mark.parametrize("name", ["split.tif", "split.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:150]),
        lambda path: path.write_bytes(b"\xff\xfe nonsense"),
        lambda path: path.write_text("[" * 10_000),
    ],
    ids=["missing", "empty", "cut", "nonsense", "deep"],
)
def test_damaged_files_are_named_in_one_sentence(saved, name, damage):
    damage(saved / name)
    with pytest.raises(SplitError, match=rf"{name} cannot be used: .*; make the split"):
        Split.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "hypercover split 9"},
        {"shape": [10**6, 10**6]},
        {"shape": "40x40"},
        {"seed": "0"},
        {"notes": None},
        {"sha256": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_json_file_that_does_not_fit_is_refused(saved, change):
    path = saved / "split.json"
    path.write_text(json.dumps(read_checksummed(path.read_bytes()) | change))
    with pytest.raises(SplitError, match="cannot be used"):
        Split.load(saved)


def test_a_map_of_another_kind_is_refused(saved):
    with rasterio.open(saved / "split.tif") as file:
        values = file.read(1)
    for dtype, driver in (("float32", "GTiff"), ("uint8", "PNG")):
        with rasterio.open(
            saved / "split.tif", "w", driver, *values.shape[::-1], 1, dtype=dtype
        ) as file:
            file.write(values.astype(dtype), 1)
        with pytest.raises(SplitError, match="cannot be used"):
            Split.load(saved)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((3, 3), int), "no labelled pixels"),
        (np.full((3, 3), 4), "only one class, code 4"),
        (np.ones((3, 3)), "integers"),
        (np.array([[-1, 2]]), "integers"),
        (np.arange(4), "two-dimensional"),
        (np.array([[1, 65536]]), "values from 0 to 65536"),
        (np.zeros((0, 4), int), "no labelled pixels"),
    ],
)
def test_labels_nothing_can_be_learnt_from_are_refused(labels, words):
    with pytest.raises(LabelError, match=words):
        check_labels(labels)


def test_a_split_that_cannot_train_or_test_is_refused():
    one_class = Split(np.array([[1, 1, 3, 3], [3, 3, 3, 0]], np.uint8))
    with pytest.raises(SplitError, match="at least two classes, got 1"):
        check_trainable(one_class, SOME_LABELS)
    no_test = Split(np.array([[1, 1, 1, 1], [4, 4, 4, 0]], np.uint8))
    with pytest.raises(SplitError, match="No labelled pixels are left for the test"):
        check_trainable(no_test, SOME_LABELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.uint64])
def test_every_whole_type_of_labels_gives_the_same_split(labels, dtype):
    split = RandomSplit().split(labels.astype(dtype))
    assert split == RandomSplit().split(labels)
    assert split.to_json(labels.astype(dtype)) == split.to_json(labels)


def test_a_test_of_one_class_is_told_as_one():
    labels = np.array([[1, 2, 1, 2, 2]])
    one = Split.from_parts(train=[[1, 1, 0, 0, 0]], test=[[0, 0, 0, 1, 1]])
    both = Split.from_parts(train=[[1, 1, 0, 0, 0]], test=[[0, 0, 1, 1, 1]])
    (note,) = one.to_json(labels)["notes"]
    assert note.startswith("Only class 2 (")
    assert both.to_json(labels)["notes"] == []
