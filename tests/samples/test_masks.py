"""Mask splits take exactly the marked pixels that have a label."""

import numpy as np
import pytest

from hypercover.errors import SplitError
from hypercover.samples.masks import MaskSplit
from hypercover.samples.random import RandomSplit

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
        "2 of the 4 pixels of the train mask have no label: left out.",
        "1 of the 3 pixels of the test mask have no label: left out.",
    )
    assert not split.parts[LABELS == 0].any()


def test_nan_in_a_mask_means_out():
    split = MaskSplit(train=[[1, 1, np.nan, 0, 0], [0, 0, 0, 0, 0]]).split(LABELS)
    assert split.count("train") == 2


@pytest.mark.parametrize("validation", [0, 0.5])
def test_masks_that_share_pixels_are_refused_with_their_number(validation):
    with pytest.raises(SplitError, match="but 2 pixels lie in both train and test"):
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
    with pytest.raises(SplitError, match="No labelled pixel is left for the test"):
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
