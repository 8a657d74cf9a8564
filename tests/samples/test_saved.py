"""Saved splits are used only for what they were made for, and only unchanged."""

import json

import numpy as np
import pytest

from hypercover.errors import SplitError
from hypercover.files import read_sealed
from hypercover.samples.blocks import BlockSplit
from hypercover.samples.kfold import KFoldSplit
from hypercover.samples.saved import SavedSplit


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
    fold = KFoldSplit(folds=3, size=8, guard=2).splits(labels, seed=3, window=3)[1]
    fold.save(tmp_path, labels=labels)
    notes = SavedSplit(tmp_path).split(labels, window=3).notes
    assert any("is fold 2 of 3 of a cross-validation" in note for note in notes)


def test_another_digest_is_refused(labels, made, tmp_path):
    with pytest.raises(SplitError, match="it is another split"):
        SavedSplit(tmp_path, "0" * 64).split(labels)


def test_a_changed_map_is_refused(labels, made, tmp_path):
    from hypercover.samples.split import Split

    parts = np.array(made.parts)
    parts[np.nonzero(parts == 3)[0][0], np.nonzero(parts == 3)[1][0]] = 1
    kept = (tmp_path / "split.json").read_bytes()
    Split(parts).save(tmp_path)
    (tmp_path / "split.json").write_bytes(kept)
    with pytest.raises(SplitError, match="SHA-256 is not that in"):
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
    path.write_text(json.dumps(read_sealed(path.read_bytes()) | {"parts": parts}))
    with pytest.raises(SplitError, match="counts of classes are none"):
        SavedSplit(tmp_path).split(labels)
