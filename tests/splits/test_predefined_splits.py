"""Mask splits take exactly the marked pixels that have a label."""

import json

import numpy as np
import pytest

from hypercover.errors import SplitError
from hypercover.files import read_checksummed
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.cross_validation import KFoldSplit
from hypercover.splits.predefined_splits import MaskSplit, SavedSplit
from hypercover.splits.random_split import RandomSplit

LABELS = np.array([[1, 2, 1, 2, 0], [3, 3, 1, 0, 0]])


def test_nonzero_means_in_whatever_the_codes():
    split = MaskSplit(
        train=[[7, 200, 0, 0, 0], [0, 0, 0, 0, 0]],
        test=[[0, 0, True, 1, 0], [0, 9, 0, 0, 0]],
    ).split(LABELS)
    assert split.parts.tolist() == [[1, 1, 3, 3, 0], [0, 3, 0, 0, 0]]
    assert split.notes == ()


def test_without_a_test_mask_all_other_labelled_pixels_are_tested():
    split = MaskSplit(train=LABELS * [1, 1, 0, 0, 0]).split(LABELS)
    assert split.parts.tolist() == [[1, 1, 3, 3, 0], [1, 1, 3, 0, 0]]
    assert split.unscored(LABELS) == [(3, "no test pixel")]


def test_marked_pixels_without_a_label_are_left_out_and_counted():
    split = MaskSplit(
        train=[[1, 1, 0, 0, 1], [0, 0, 0, 1, 0]], test=[[0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    ).split(LABELS)
    assert split.notes == (
        "2 of the 4 pixels of the train mask have no label and are left out.",
        "1 of the 3 pixels of the test mask have no label and are left out.",
    )
    assert not split.parts[LABELS == 0].any()


def test_nan_in_a_mask_means_out():
    split = MaskSplit(train=[[1, 1, np.nan, 0, 0], [0, 0, 0, 0, 0]]).split(LABELS)
    assert split.count("train") == 2


@pytest.mark.parametrize("validation", [0, 0.5])
def test_masks_that_share_pixels_are_refused_with_their_number(validation):
    with pytest.raises(SplitError, match="but train and test share 2 pixels"):
        MaskSplit(
            train=[[1, 1, 1, 1, 0], [0, 0, 0, 0, 0]],
            test=[[0, 0, 1, 1, 0], [1, 0, 0, 0, 0]],
            validation=validation,
        ).split(LABELS)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(SplitError, match="test mask is 2 × 2 pixels, the labels are 2 × 5"):
        MaskSplit(train=LABELS, test=np.ones((2, 2))).split(LABELS)


def test_an_empty_training_mask_is_refused():
    with pytest.raises(SplitError, match="at least two classes, got 0"):
        MaskSplit(train=np.zeros((2, 5))).split(LABELS)


def test_a_training_mask_of_every_label_leaves_no_test():
    with pytest.raises(SplitError, match="No labelled pixels are left for the test"):
        MaskSplit(train=LABELS).split(LABELS)


def test_validation_is_drawn_by_seed_from_the_training_mask(labels):
    mask = RandomSplit(0.5).split(labels).mask("train")
    first, same, other = (
        MaskSplit(mask, validation=0.25).split(labels, seed=seed) for seed in (1, 1, 2)
    )
    assert first == same
    assert not np.array_equal(first.parts, other.parts)
    np.testing.assert_array_equal(first.mask("train") | first.mask("validation"), mask)
    assert first.count("validation") == pytest.approx(0.25 * mask.sum(), abs=3)
    np.testing.assert_array_equal(first.mask("test"), other.mask("test"))


def test_the_published_masks_give_their_published_counts(real):
    fixed = MaskSplit(real.fixed_train, real.fixed_test).split(real.site3)
    assert (fixed.count("train"), fixed.count("test")) == (695, 9671)
    assert fixed.unscored(real.site3) == []
    dase = MaskSplit(real.dase).split(real.site3)
    assert dase.count("train") == 5689


def test_unlabelled_training_pixels_of_pavia_are_noted(real):
    split = MaskSplit(real.pavia_train, real.pavia_test).split(real.pavia)
    assert (split.count("train"), split.count("test")) == (3921 - 1147, 40002)
    assert split.notes[0].startswith("1147 of the 3921 pixels of the train mask")


@pytest.fixture
def made(labels, tmp_path):
    split = BlockSplit(8, 0.3, 2).split(labels, seed=3, window=3)
    split.save(tmp_path, labels=labels)
    return split


@pytest.mark.parametrize("path", ["", "split.json"])
def test_a_saved_split_has_the_same_parts_under_every_seed(labels, made, tmp_path, path):
    for seed in (0, 5):
        again = SavedSplit(tmp_path / path, made.digest).split(labels, seed=seed, window=3)
        assert again.digest == made.digest
        assert (again.kind, again.settings["kind"]) == ("saved", "blocks")
        assert again.notes == made.notes


def test_a_guard_too_narrow_for_another_window_is_said(labels, made, tmp_path):
    again = SavedSplit(tmp_path).split(labels, window=9)
    assert any("narrower than window − 1 = 8" in note for note in again.notes)


def test_one_fold_of_a_cross_validation_is_told_as_one(labels, tmp_path):
    fold = KFoldSplit(n_splits=3, size=8, guard=2).splits(labels, seed=3, window=3)[1]
    fold.save(tmp_path, labels=labels)
    notes = SavedSplit(tmp_path).split(labels, window=3).notes
    assert any("is fold 2 of 3 of a cross-validation" in note for note in notes)


def test_another_digest_is_refused(labels, made, tmp_path):
    with pytest.raises(SplitError, match="give the file of that split"):
        SavedSplit(tmp_path, "0" * 64).split(labels)


def test_a_changed_map_is_refused(labels, made, tmp_path):
    from hypercover.splits.split import Split

    parts = np.array(made.parts)
    parts[np.nonzero(parts == 3)[0][0], np.nonzero(parts == 3)[1][0]] = 1
    kept = (tmp_path / "split.json").read_bytes()
    Split(parts).save(tmp_path)
    (tmp_path / "split.json").write_bytes(kept)
    with pytest.raises(SplitError, match="SHA-256 differs from that in"):
        SavedSplit(tmp_path).split(labels)


def test_labels_of_another_scene_are_refused(labels, made, tmp_path):
    swapped = np.where(labels == 1, 2, np.where(labels == 2, 1, labels))
    with pytest.raises(SplitError, match=r"does not fit the labels: its \w+ part had"):
        SavedSplit(tmp_path).split(swapped)
    with pytest.raises(SplitError, match="the labels are 20 × 40"):
        SavedSplit(tmp_path).split(labels[:20])


def test_labels_are_checked_even_where_no_counts_were_kept(labels, made, tmp_path):
    made.save(tmp_path)
    assert SavedSplit(tmp_path).split(labels).digest == made.digest
    fewer = labels.copy()
    fewer[np.nonzero(made.mask("test"))] = 0
    with pytest.raises(SplitError, match="of its pixels have no label"):
        SavedSplit(tmp_path).split(fewer)


@pytest.mark.parametrize("parts", [[], {"train": 3}, {"train": {"per_class": {"x": 1}}}])
def test_damaged_counts_are_refused(labels, made, tmp_path, parts):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(read_checksummed(path.read_bytes()) | {"parts": parts}))
    with pytest.raises(SplitError, match="entry 'parts' is wrong"):
        SavedSplit(tmp_path).split(labels)
