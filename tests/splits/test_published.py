"""Published splits are found by content, and what is wrong with them is said."""

import shutil

import numpy as np
import pytest

from hypercover.errors import LabelError, SplitError
from hypercover.splits.predefined_splits import PublishedSplit


def test_indian_pines_fixed_on_the_labels_it_was_made_with(real, data_folder):
    split = PublishedSplit("indian-pines-fixed", data_folder).split(real.site3)
    np.testing.assert_array_equal(split.mask("train"), real.fixed_train > 0)
    np.testing.assert_array_equal(split.mask("test"), real.fixed_test > 0)
    assert (split.count("train"), split.count("test")) == (695, 9671)
    assert len(split.notes) == 1


def test_dase_moves_ten_mistaken_pixels_to_the_test(real, data_folder):
    split = PublishedSplit("indian-pines-dase", data_folder).split(real.site3)
    assert (split.count("train"), split.count("test")) == (5679, 4687)
    mowed = 7
    assert split.per_class("train", real.site3)[mowed] == 16
    assert split.per_class("test", real.site3)[mowed] == 10
    moved = (real.dase > 0) & ~split.mask("train")
    rows, cols = np.nonzero(moved)
    assert sorted(zip(rows.tolist(), cols.tolist(), strict=True)) == [
        *((row, col) for row in (76, 77) for col in range(108, 112)),
        (78, 110),
        (78, 111),
    ]
    assert any(note.startswith("10 training pixels") for note in split.notes)


def test_dase_on_other_labels_says_what_disagrees(real, data_folder):
    from scipy.io import loadmat

    file = data_folder / "indian_pines" / "Indian_pines_gt.mat"
    truth = loadmat(file)["indian_pines_gt"]
    split = PublishedSplit("indian-pines-dase", data_folder).split(truth)
    said = " ".join(split.notes)
    assert "made with Indian Pines Site 3" in said
    assert "the labels in use are Indian Pines ground truth" in said
    # 161 of the published pixels disagree with that ground truth: ten, and those without label.
    assert "151 of the 5679 pixels of the train mask have no label" in said
    assert split.count("train") == 5679 - 151


def test_pavia_leaves_out_training_pixels_outside_the_ground_truth(real, data_folder):
    split = PublishedSplit("pavia-fixed", data_folder).split(real.pavia)
    assert (split.count("train"), split.count("test")) == (3921 - 1147, 40_002)
    assert any("1147 of the 3921 pixels" in note for note in split.notes)


def test_a_relabelled_scene_is_said_to_disagree(real, data_folder):
    labels = real.site3.copy()
    changed = (real.fixed_train > 0) & (labels == 2)
    labels[changed] = 3
    split = PublishedSplit("indian-pines-fixed", data_folder).split(labels)
    note = f"{np.count_nonzero(changed)} pixels of the train map have another class"
    assert any(one.startswith(note) for one in split.notes)
    assert any("the labels in use are not a known map" in one for one in split.notes)


def test_names_and_containers_play_no_part(real, tmp_path):
    from scipy.io import savemat

    (tmp_path / "deep").mkdir()
    np.savez(tmp_path / "deep" / "x.npz", other=np.ones((3, 3)), a=real.fixed_test)
    savemat(tmp_path / "Ground truth.dat", {"anything": real.fixed_train.astype(float)})
    (tmp_path / "notes.txt").write_text("no map")
    (tmp_path / "broken.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    split = PublishedSplit("indian-pines-fixed", tmp_path).split(real.site3)
    assert (split.count("train"), split.count("test")) == (695, 9671)


def test_other_pixels_of_the_same_counts_are_refused(real, tmp_path):
    np.save(tmp_path / "turned.npy", real.fixed_train.T)
    with pytest.raises(
        LabelError, match=r"turned.npy has its class counts, but other pixels"
    ):
        PublishedSplit("indian-pines-fixed", tmp_path).split(real.site3)


def test_what_is_not_there_is_said(real, data_folder, tmp_path):
    shutil.copy(data_folder / "indian_pines" / "IndianTR123_temp123.tif", tmp_path)
    with pytest.raises(LabelError, match=r"holds the Indian Pines fixed test map"):
        PublishedSplit("indian-pines-fixed", tmp_path).split(real.site3)
    with pytest.raises(LabelError, match="no file or folder"):
        PublishedSplit("indian-pines-fixed", tmp_path / "none").split(real.site3)
    with pytest.raises(
        SplitError, match=r"is for 145 × 145 pixels, the labels have 610 × 340"
    ):
        PublishedSplit("indian-pines-fixed", tmp_path).split(real.pavia)
    with pytest.raises(SplitError, match="got 'indian'"):
        PublishedSplit("indian", tmp_path)
