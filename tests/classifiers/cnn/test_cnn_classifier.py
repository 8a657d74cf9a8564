import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.errors import ModelError, RunError
from hypercover.windows.windows import Windows


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scene(bands=24, side=16, codes=(11, 21, 41), seed=0):
    """Vertical stripes of classes whose spectra differ by construction."""
    rng = np.random.default_rng(seed)
    spectra = rng.uniform(1000, 5000, size=(len(codes), bands))
    which = np.arange(side) * len(codes) // side
    cube = spectra[which].T[:, None, :] + rng.normal(0, 60, size=(bands, side, side))
    labels = np.tile(np.asarray(codes)[which], (side, 1))
    return cube.astype(np.float32), labels


def windows_of(cube, labels, size=9, step=3):
    rows, cols = np.mgrid[0 : labels.shape[0] : step, 0 : labels.shape[1] : step]
    rows, cols = rows.ravel(), cols.ravel()
    return Windows(cube, rows, cols, size), labels[rows, cols]


def padded(cube, margin):
    return np.pad(cube, ((0, 0), (margin, margin), (margin, margin)), mode="edge")


@parametrize_with_checks([CNNClassifier(epochs=15, random_state=0)])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("codes", [(11, 21, 41), ("corn", "hay", "oats"), (3, 200, 65000)])
def test_predicts_the_labels_it_was_given(codes):
    cube, labels = scene(codes=codes)
    windows, y = windows_of(cube, labels, size=5)
    cnn = CNNClassifier(epochs=30, random_state=0).fit(windows, y)
    assert (cnn.predict(windows) == y).mean() == 1.0
    assert cnn.classes_.tolist() == sorted(codes)
    assert cnn.predict(windows).dtype == y.dtype


def test_lazy_windows_give_the_numbers_of_the_array():
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=5)
    lazy = CNNClassifier(epochs=2, random_state=0).fit(windows, y)
    array = CNNClassifier(epochs=2, random_state=0).fit(windows.cut(), y)
    np.testing.assert_array_equal(lazy.predict_proba(windows), array.predict_proba(windows))
    assert lazy.n_features_in_ == array.n_features_in_ == 24


def test_windows_gathered_from_their_cube_give_the_numbers_of_resident_ones(monkeypatch):
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=5)
    resident = CNNClassifier(epochs=2, random_state=0).fit(windows, y)
    monkeypatch.setattr("hypercover.classifiers.cnn.window_loader._MAX_WINDOW_BYTES", 0)
    monkeypatch.setattr(
        "hypercover.classifiers.cnn.window_loader._CHUNK_BYTES", 4 * 24 * 25 * 7
    )
    lazy = CNNClassifier(epochs=2, random_state=0).fit(windows, y)
    np.testing.assert_allclose(
        lazy.predict_proba(windows), resident.predict_proba(windows), atol=1e-5
    )


def test_same_seed_same_bits_and_no_global_seed_is_touched():
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=5)
    before = torch.random.get_rng_state()
    once, again, other = (
        CNNClassifier(epochs=2, random_state=seed).fit(windows, y).predict_proba(windows)
        for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("default", 1),
        ("default", 3),
        ("default", 9),
        ("default", 13),
        ("lecture", 7),
        ("lecture", 9),
    ],
)
def test_one_dense_pass_answers_like_every_window(network, size):
    cube, labels = scene(side=17)
    windows, y = windows_of(cube, labels, size=size)
    cnn = CNNClassifier(network, epochs=3, random_state=0).fit(windows, y)
    everywhere, _ = windows_of(cube, labels, size=size, step=1)
    single = cnn.predict_proba(everywhere).T.reshape(3, 17, 17)
    dense = cnn.predict_dense(padded(cube, cnn.margin_))
    assert (cnn.window_, cnn.margin_) == (size, size // 2)
    assert dense.shape == (3, 17, 17)
    np.testing.assert_allclose(dense, single, atol=1e-5)


def test_tiles_join_to_the_scene():
    cube, labels = scene(side=16)
    windows, y = windows_of(cube, labels, size=5)
    cnn = CNNClassifier(epochs=2, random_state=0).fit(windows, y)
    around = padded(cube, 2)
    whole = cnn.predict_dense(around)
    left, right = cnn.predict_dense(around[:, :, :11]), cnn.predict_dense(around[:, :, 7:])
    np.testing.assert_allclose(np.concatenate([left, right], axis=2), whole, atol=1e-5)


def test_spectra_are_windows_of_one_pixel():
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=1)
    flat = CNNClassifier(epochs=2, random_state=0).fit(windows.centres(), y)
    stack = CNNClassifier(epochs=2, random_state=0).fit(windows, y)
    np.testing.assert_array_equal(
        flat.predict_proba(windows.centres()), stack.predict_proba(windows)
    )


def test_learns_from_a_handful_of_bands_and_from_constant_ones():
    cube, labels = scene(bands=4)
    cube = np.concatenate([cube, np.full_like(cube[:1], 7)])
    windows, y = windows_of(cube, labels, size=3)
    cnn = CNNClassifier(epochs=30, random_state=0).fit(windows, y)
    assert cnn.score(windows, y) == 1.0
    disturbed = cube.copy()
    disturbed[4] = 9999
    elsewhere, _ = windows_of(disturbed, labels, size=3)
    np.testing.assert_array_equal(cnn.predict(elsewhere), y)


def test_history_holds_one_record_per_epoch_and_progress_is_given_each():
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=3)
    seen = []
    cnn = CNNClassifier(epochs=4, random_state=0)
    cnn.progress = seen.append
    cnn.fit(windows, y)
    assert seen == [record | {"epochs": 4} for record in cnn.history_]
    assert [record["epoch"] for record in seen] == [1, 2, 3, 4]
    names = {"epoch", "loss", "accuracy", "learning_rate", "samples", "seconds"}
    assert set(cnn.history_[0]) == names
    assert [record["samples"] for record in seen] == [36, 72, 108, 144]
    assert seen[-1]["loss"] < seen[0]["loss"]
    assert clone(cnn).progress is None
    assert pickle.loads(pickle.dumps(cnn)).progress is None


def test_an_interrupted_training_ends_at_once():
    def interrupt(record):
        raise KeyboardInterrupt

    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=3)
    cnn = CNNClassifier(epochs=10**6, random_state=0)
    cnn.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        cnn.fit(windows, y)
    with pytest.raises(NotFittedError):
        cnn.predict(windows)


def test_an_interrupted_second_training_leaves_no_mixture_of_both():
    def interrupt(record):
        raise KeyboardInterrupt

    cnn, windows, y = fitted()
    cnn.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        cnn.fit(windows, y + 100)
    with pytest.raises(NotFittedError):
        cnn.predict(windows)


def test_goes_through_pipelines_and_cross_validation():
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=3, step=2)
    scores = cross_val_score(
        make_pipeline(CNNClassifier(epochs=20, random_state=0)), windows.cut(), y, cv=2
    )
    assert scores.min() > 0.9


def fitted(size=3, **settings):
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=size)
    settings = {"epochs": 1, "random_state": 0} | settings
    return CNNClassifier(**settings).fit(windows, y), windows, y


@pytest.mark.parametrize(
    ("settings", "size", "sentence"),
    [
        (
            {"network": "resnet"},
            3,
            "No network named 'resnet'; use one of: .*default, .*lecture",
        ),
        ({"network": "lecture"}, 5, "odd side of at least 7"),
        ({"device": "tpu"}, 3, "auto, cpu or cuda, got 'tpu'"),
        ({"epochs": 0}, 3, "epochs must be a whole number from 1 to 1000000000, got 0"),
        ({"epochs": 2.5}, 3, "epochs must be a whole number"),
        ({"batch_size": 1}, 3, "at least 2 windows in a batch"),
        ({"learning_rate": -1.0}, 3, "learning rate must be a number above 0"),
        ({"learning_rate": "high"}, 3, "learning rate must be a number above 0"),
    ],
)
def test_parameters_without_meaning_are_refused(settings, size, sentence):
    with pytest.raises(ModelError, match=sentence):
        fitted(size, **settings)


def test_too_few_bands_for_the_lecture_network_are_refused():
    cube, labels = scene(bands=10)
    windows, y = windows_of(cube, labels, size=7)
    with pytest.raises(ModelError, match="at least 22 bands, got 10"):
        CNNClassifier("lecture", epochs=1).fit(windows, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_one_sentence():
    with pytest.raises(ModelError, match="no usable GPU here; use device auto or cpu"):
        fitted(device="cuda")


def test_one_class_is_refused():
    cube, labels = scene(codes=(5,))
    with pytest.raises(ModelError, match=r"one class only \(5\); a classifier needs"):
        CNNClassifier().fit(*windows_of(cube, labels, size=3))


def test_labels_of_another_number_are_refused():
    _, windows, y = fitted()
    with pytest.raises(ModelError, match="36 windows and 35 labels"):
        CNNClassifier().fit(windows, y[1:])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    cube, labels = scene()
    cnn, _, y = fitted()
    cube[3, 5, 5] = bad
    broken, _ = windows_of(cube, labels, size=3)
    with pytest.raises(ModelError, match="NaN or infinity"):
        CNNClassifier(epochs=1).fit(broken, y)
    with pytest.raises(ModelError, match="NaN or infinity"):
        cnn.predict(broken)
    with pytest.raises(ModelError, match="NaN or infinity"):
        cnn.predict_dense(padded(cube, 1))


def test_other_bands_and_windows_than_in_training_are_refused():
    cube, labels = scene()
    cnn, _, _ = fitted()
    with pytest.raises(ModelError, match="trained on 24 bands, got 23"):
        cnn.predict(windows_of(cube[1:], labels, size=3)[0])
    with pytest.raises(ModelError, match="windows of 3 × 3 pixels, got 5 × 5"):
        cnn.predict(windows_of(cube, labels, size=5)[0])
    with pytest.raises(ModelError, match="an odd size"):
        cnn.predict(np.zeros((2, 24, 4, 4)))
    with pytest.raises(ModelError, match="24 bands and at least 3 rows"):
        cnn.predict_dense(cube[1:])
    with pytest.raises(ModelError, match="24 bands and at least 3 rows"):
        cnn.predict_dense(cube[:, :2])


def test_no_window_at_all_is_refused():
    windows = Windows(np.zeros((4, 9, 9)), [], [], 3)
    with pytest.raises(
        ModelError, match=r"no training windows \(0 samples\); give at least"
    ):
        CNNClassifier().fit(windows, np.empty(0, int))


def test_a_setting_that_counts_for_nothing_is_refused():
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=3)
    with pytest.raises(
        ModelError, match="momentum of a recipe has an effect only with optimiser"
    ):
        CNNClassifier(recipe={"momentum": 0.9}).fit(windows, y)
    # What the network's own recipe leaves over is nobody's mistake; epochs go before pace.
    kept = CNNClassifier(epochs=1, recipe={"optimiser": "sgd", "pace": 3})
    assert kept.training_recipe().weight_decay > 0


def test_answers_that_are_no_numbers_are_refused_by_window_and_by_tile():
    cube, labels = scene()
    windows, y = windows_of(cube, labels, size=3)
    cnn = CNNClassifier(epochs=1, random_state=0).fit(windows, y)
    with torch.no_grad():
        cnn.network_.head.weight.fill_(3e38)
    for answer in (lambda: cnn.predict(windows), lambda: cnn.predict_dense(cube)):
        with pytest.raises(
            RunError, match="probabilities are not finite: its weights or its i"
        ):
            answer()
