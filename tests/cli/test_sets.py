"""``hypercover libsvm sets``: the lecture's files, and reading them back."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_svmlight_file

from hypercover.classifiers.svm import SVMClassifier
from hypercover.experiment.reading import load_experiment
from hypercover.experiment.stages import split_for
from hypercover.features.nwfe import NWFE
from hypercover.samples.libsvm import read_libsvm
from hypercover.samples.libsvm_positions import positions_beside, read_positions
from hypercover.samples.window_file import WindowFile
from hypercover.scene.reading import open_scene

needs_libsvm = pytest.mark.skipif(
    shutil.which("svm-train") is None and "CI" not in os.environ,
    reason="LIBSVM's programs are not installed (on Debian: libsvm-tools)",
)
NAMES = [
    f"indian_{kind}_{part}.el"
    for kind in ("raw", "processed")
    for part in ("training", "test")
]
CHAIN = "pca:2,esdap:area"


def libsvm(program, *words):
    call = [program, *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout


@dataclass
class Written:
    folder: Path
    answer: object

    def arrays(self, kind, part, features):
        path = self.folder / f"indian_{kind}_{part}.el"
        labels, values = read_libsvm(path, features, dense=True, dtype=np.float64)
        return labels, values, read_positions(positions_beside(path))


@pytest.fixture
def sets(fields, call, tmp_path):
    """Write the sets of the scene of fields."""

    def write(*options):
        answer = call(
            "libsvm", "sets", fields.image, "--labels", fields.labels, "-o", tmp_path / "sets",
            "--chain", CHAIN, "--nwfe", 3, "--window", 5, *options)  # fmt: skip
        return Written(tmp_path / "sets", answer)

    return write


def test_one_command_writes_all_of_them_with_one_split(fields, sets):
    made = sets("--no-scale")
    assert made.answer.code == 0
    for name in (*NAMES, "indian_windows.h5"):
        assert f"Data: {made.folder / name} (" in made.answer.out
    raw = {part: made.arrays("raw", part, 6) for part in ("training", "test")}
    for part, (labels, values, places) in raw.items():
        np.testing.assert_array_equal(values, fields.cube[:, places.rows, places.cols].T)
        np.testing.assert_array_equal(labels, fields.codes[places.rows, places.cols])
        _, seen, same = made.arrays("processed", part, 3)
        assert seen.shape == (len(labels), 3)
        np.testing.assert_array_equal(same.rows, places.rows)
        np.testing.assert_array_equal(same.cols, places.cols)
    counts = np.bincount(fields.codes.ravel())[1:]
    assert (
        np.bincount(raw["training"][0])[1:].tolist() == np.floor(counts / 10 + 0.5).tolist()
    )


def test_the_processed_features_were_learnt_from_training_pixels_alone(fields, sets):
    from hypercover.features.chain import Chain

    made = sets("--no-scale")
    labels, values, places = made.arrays("processed", "training", 3)
    stack = Chain.parse(CHAIN).fit_transform(open_scene(fields.image), seed=0).cube.values
    own = stack[:, places.rows, places.cols].T
    learnt = SVMClassifier(reduction=NWFE(3)).fit_preprocessing(own, labels)
    np.testing.assert_allclose(values, learnt.preprocess(own), rtol=1e-9, atol=1e-12)
    _, values, places = made.arrays("processed", "test", 3)
    others = stack[:, places.rows, places.cols].T
    np.testing.assert_allclose(values, learnt.preprocess(others), rtol=1e-9, atol=1e-12)


@needs_libsvm
@pytest.mark.parametrize("kind", ["raw", "processed"])
def test_features_are_scaled_as_svm_scale_does_by_the_training_pixels(
    sets, kind, tmp_path, call
):
    plain, scaled = sets("--no-scale", "--name", "plain"), sets()
    ranges = scaled.folder / f"indian_{kind}.range"
    for part in ("training", "test"):
        raw = plain.folder / f"plain_{kind}_{part}.el"
        theirs = tmp_path / "theirs.el"
        theirs.write_text(libsvm("svm-scale", "-r", ranges, raw))
        features = 6 if kind == "raw" else 3
        _, expected = read_libsvm(theirs, features)
        _, values, places = scaled.arrays(kind, part, features)
        # svm-scale prints six digits.
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
        assert places.seen.endswith("scaled to 0 to 1 by the training pixels")
        if part == "training":
            np.testing.assert_allclose(values.min(axis=0), 0, atol=1e-7)
            np.testing.assert_allclose(values.max(axis=0), 1, atol=1e-7)


def test_they_hold_the_split_of_the_lectures_run(fields, sets):
    made = sets()
    spec = load_experiment(
        "lecture-small", [f"scene.path={fields.image}", f"scene.labels={fields.labels}"]
    )
    split = split_for(spec.split, open_scene(fields.image, fields.labels), seed=0, window=9)
    for part, name in (("train", "training"), ("test", "test")):
        _, _, places = made.arrays("raw", name, 6)
        rows, cols = np.nonzero(split.mask(part))
        np.testing.assert_array_equal(places.rows, rows)
        np.testing.assert_array_equal(places.cols, cols)


def test_the_window_file_holds_the_same_pixels(fields, sets):
    made = sets()
    windows = WindowFile(made.folder / "indian_windows.h5")
    for number, part in ((1, "training"), (3, "test")):
        labels, _, places = made.arrays("raw", part, 6)
        inside = windows.part == number
        np.testing.assert_array_equal(windows.rows[inside], places.rows)
        np.testing.assert_array_equal(windows.labels[inside], labels)
    centres = windows[:].cut()[:, :, 2, 2]
    np.testing.assert_array_equal(centres, fields.cube[:, windows.rows, windows.cols].T)


def test_others_read_them_and_published_ones_need_no_positions(sets, call):
    made = sets()
    path = made.folder / NAMES[0]
    labels, _, _ = made.arrays("raw", "training", 6)
    _, theirs = load_svmlight_file(str(path), n_features=6, zero_based=False)
    np.testing.assert_array_equal(theirs, labels)
    positions_beside(path).unlink()
    answer = call("libsvm", "info", path)
    assert answer.code == 0
    assert f"{len(labels)}" in answer.out


def test_parts_of_the_scene_and_of_the_sets(fields, sets):
    made = sets("--window", 0, "--crop", "0:20,:", "--nwfe", 0, "--min-pixels", 5)
    assert made.answer.code == 0
    assert not (made.folder / "indian_windows.h5").exists()
    places = read_positions(positions_beside(made.folder / NAMES[3]))
    assert places.features[0] == "pca1"
    assert places.rows.max() < 20
    assert places.grid.rows == 20


@pytest.mark.parametrize(
    "options",
    [
        ("--window", 4),
        ("--train", 2.5),
        ("--crop", "9:1,:"),
        ("--nwfe", 300),
        ("--name", "../up"),
        ("--name", ""),
    ],
)
def test_a_wrong_wish_leaves_nothing(sets, options):
    made = sets(*options)
    assert made.answer.code == 2
    assert not made.folder.exists()
