"""Predictions of test pixels: kept whole, read back equal, refused when damaged."""

import contextlib
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.errors import CallError
from hypercover.evaluation.predictions import Predictions
from hypercover.scene.samples import Samples


@pytest.fixture
def answers():
    test = Samples.of([[0, 3, 70], [5, 0, 3]])
    return Predictions.of(
        test, [3, 5, 5, 3], shape=(2, 3), confidence=[1, 0.5, 0.25, 0.125]
    )


@pytest.fixture(scope="module")
def answers_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("answers") / "a.npz"
    labels = np.arange(1, 200).reshape(1, -1)
    samples = Samples.of(labels)
    Predictions.of(samples, samples.labels, shape=labels.shape).save(path)
    return path


def equal(one, other):
    names = ("rows", "cols", "labels", "predicted", "confidence")
    return one.shape == other.shape and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in names
    )


def test_what_is_saved_is_read_back(answers, tmp_path):
    answers.save(tmp_path / "a.npz")
    assert equal(Predictions.load(tmp_path / "a.npz"), answers)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_model_may_say_nothing_of_how_sure_it_is(answers, tmp_path):
    Predictions.of(Samples.of([[1, 2]]), [1, 1], shape=(1, 2)).save(tmp_path / "a.npz")
    assert Predictions.load(tmp_path / "a.npz").confidence is None


def test_right_answers_are_those_of_the_reference(answers):
    assert answers.labels.tolist() == [3, 70, 5, 3]
    assert answers.right.tolist() == [True, False, True, True]


def test_the_digest_is_that_of_the_test_pixels_and_not_of_the_answers(answers):
    test = Samples.of([[0, 3, 70], [5, 0, 3]])
    same = Predictions.of(test, [5, 5, 5, 5], shape=(2, 3))
    other = Predictions.of(Samples.of([[0, 3, 7], [5, 0, 3]]), [3] * 4, shape=(2, 3))
    moved = Predictions.of(Samples.of([[3, 0, 70], [5, 0, 3]]), [3] * 4, shape=(2, 3))
    assert same.test_digest == answers.test_digest
    assert len({answers.test_digest, other.test_digest, moved.test_digest}) == 3


def test_one_answer_is_needed_for_each_pixel():
    with pytest.raises(CallError, match="one value for each test pixel"):
        Predictions.of(Samples.of([[1, 2]]), [1], shape=(1, 2))


def test_pixels_outside_the_scene_are_refused():
    with pytest.raises(CallError, match="outside the scene of 1 × 1"):
        Predictions.of(Samples.of([[1, 2]]), [1, 1], shape=(1, 1))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CallError, match=r"gone\.npz are missing; run the experiment again"):
        Predictions.load(tmp_path / "gone.npz")


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_file_cut_short_is_refused(answers, tmp_path, share):
    path = tmp_path / "a.npz"
    answers.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CallError, match="holds no predictions"):
        Predictions.load(path)


def test_other_archives_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, rows=np.zeros(2))
    with pytest.raises(CallError, match="holds no predictions"):
        Predictions.load(path)
    np.savez(path, rows=np.array([object()]), allow_pickle=True)
    with pytest.raises(CallError, match="holds no predictions"):
        Predictions.load(path)


def test_an_archive_that_would_fill_the_memory_is_refused(answers, tmp_path):
    path = tmp_path / "a.npz"
    answers.save(path)
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        member = archive.infolist()[0]
    size = member.file_size.to_bytes(4, "little")
    path.write_bytes(raw.replace(size, (2**32 - 2).to_bytes(4, "little")))
    with pytest.raises(CallError, match="holds no predictions"):
        Predictions.load(path)


@given(st.data())
def test_damaged_bytes_are_refused_or_change_nothing_that_is_checked(answers_file, data):
    whole = answers_file.read_bytes()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255))
    path = answers_file.with_name("damaged.npz")
    path.write_bytes(damaged)
    with contextlib.suppress(CallError):
        assert isinstance(Predictions.load(path), Predictions)
