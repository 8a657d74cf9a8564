"""From a scene to a window file and back to the very same training."""

import hashlib
import os

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.errors import (
    CallError,
    ExperimentError,
    LabelError,
    ModelError,
    SceneError,
    SplitError,
)
from hypercover.evaluation.intervals import BlockUnits, units_of_split
from hypercover.experiment.config.builders import build_split, fingerprint
from hypercover.experiment.config.experiment_check import check_experiment
from hypercover.experiment.config.experiment_file import load_experiment, parse
from hypercover.experiment.config.schema import Experiment, WindowsSplitSpec
from hypercover.experiment.tasks.trial import run_trial
from hypercover.experiment.window_export import (
    plan_windows,
    split_of,
    window_pieces,
    windows_for,
    write_windows,
)
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_labels
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.predefined_splits import SavedSplit
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split
from hypercover.windows.window_file import WindowFile
from hypercover.windows.windows import Windows


def scene_of(rows=20, cols=16, bands=3, seed=0, holes=True):
    chance = np.random.default_rng(seed)
    field = np.add.outer(np.arange(rows) // 4, np.arange(cols) // 4)
    labels = (1 + field % 3).astype(np.uint8)
    cube = 100 * labels + chance.normal(0, 30, (bands, rows, cols)) + 200
    cube = cube.round().astype(np.int16)
    if holes:
        # no data of three forms: one band marked, all bands zero, beside a label
        cube[1, 3, 3], cube[:, 7, 0] = -1, 0
    labels[chance.random(labels.shape) < 0.2] = 0
    array = xr.DataArray(cube, dims=("band", "y", "x"), attrs={"nodata": -1})
    return Scene(array, labels, Legend.of({1: "Corn", 2: "Meadow", 3: "Woods"}))


@pytest.fixture
def scene():
    return scene_of()


@pytest.fixture
def split(scene):
    return RandomSplit(train=0.2, validation=0.2).split(scene.usable_labels, window=5)


@given(
    rows=st.integers(5, 30),
    cols=st.integers(5, 12),
    size=st.sampled_from([1, 3, 5]),
    strip=st.sampled_from([1, 200, 1000, 10**6]),
    piece=st.sampled_from([1, 300, 10**6]),
    start=st.floats(0, 1),
)
@settings(max_examples=40)
def test_windows_read_in_strips_are_those_of_the_whole_cube(
    tmp_path_factory, rows, cols, size, strip, piece, start
):
    """Which is what a training without a file is given."""
    scene = scene_of(rows, cols, holes=rows > 7)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_STRIP", "_MOST_STRIP"):
            patch.setattr(f"hypercover.experiment.window_export.{name}", strip)
        patch.setattr("hypercover.experiment.window_export._PIECE", piece)
        writer = plan_windows(scene, tmp_path_factory.getbasetemp() / "W.h5", size=size)
        first = int(start * (len(writer.samples) - 1))
        found = np.concatenate(list(window_pieces(scene, writer)(first)))
    expected = Windows.of(scene, writer.samples, size)[first:].cut()
    np.testing.assert_array_equal(found, expected)


def test_pixels_without_data_are_zeros_and_no_window(scene, tmp_path):
    file = write_windows(scene, tmp_path / "W.h5", size=3)
    values = np.asarray(file)
    assert (values != -1).all()
    beside = np.flatnonzero((file.rows == 4) & (file.cols == 4))
    if len(beside):
        assert not values[beside[0], :, 0, 0].any()
    assert not ((file.rows == 3) & (file.cols == 3)).any()


def test_a_network_learns_the_same_from_a_file_bit_for_bit(scene, split, tmp_path):
    write_windows(scene, tmp_path / "W.h5", size=5, split=split)
    part = WindowFile(tmp_path / "W.h5").take_part("train")
    samples = split.samples("train", scene.usable_labels)
    np.testing.assert_array_equal(part.labels, samples.labels)
    lazy = Windows.of(scene, samples, 5)
    fitted = [
        CNNClassifier(epochs=2, random_state=3).fit(stack, samples.labels)
        for stack in (part, lazy, lazy.cut())
    ]
    states = [network.state() for network in fitted]
    for _, arrays in states[1:]:
        assert arrays.keys() == states[0][1].keys()
        for name, values in arrays.items():
            np.testing.assert_array_equal(values, states[0][1][name], err_msg=name)
    test = WindowFile(tmp_path / "W.h5").take_part("test")
    np.testing.assert_array_equal(fitted[0].predict(test), fitted[1].predict(test.cut()))


@pytest.mark.parametrize("coordinates_only", [False, True])
def test_a_trial_with_a_file_is_the_trial_without(scene, split, tmp_path, coordinates_only):
    path = tmp_path / "W.h5"
    write_windows(scene, path, size=5, split=split, coordinates_only=coordinates_only)
    trials = [
        run_trial(
            CNNClassifier(epochs=2, random_state=0), scene, split, window=5, windows=windows
        )
        for windows in (path, None)
    ]
    said = [trial.to_metrics().to_json() for trial in trials]
    for one in said:
        del one["train_seconds"], one["predict_seconds"]
    assert said[0] == said[1]
    arrays = [trial.classifier.state()[1] for trial in trials]
    for name, values in arrays[0].items():
        np.testing.assert_array_equal(values, arrays[1][name])


def test_windows_are_matched_by_their_places(scene, split, tmp_path):
    path = tmp_path / "W.h5"
    write_windows(scene, path, size=3)
    samples = split.samples("test", scene.usable_labels)
    samples = samples.take(np.random.default_rng(0).permutation(len(samples)))
    found = windows_for(path, scene, samples, 3)
    np.testing.assert_array_equal(found.cut(), Windows.of(scene, samples, 3).cut())


def test_what_does_not_fit_is_refused_in_one_sentence(scene, split, tmp_path):
    path = tmp_path / "W.h5"
    write_windows(scene, path, size=3)
    samples = split.samples("train", scene.usable_labels)
    with pytest.raises(ModelError, match=r"have 3 × 3 pixels, but the model takes 5"):
        windows_for(path, scene, samples, 5)
    with pytest.raises(SceneError, match="bands"):
        windows_for(path, scene.take_bands([0, 2]), samples, 3)
    brighter = scene.replace(cube=(scene.cube + 1).assign_attrs(scene.cube.attrs))
    with pytest.raises(SceneError, match="other values"):
        windows_for(path, brighter, samples, 3)
    other = scene.replace(labels=np.where(scene.labels == 1, 2, scene.labels))
    with pytest.raises(LabelError, match=r"labels in .* differ from those"):
        windows_for(path, other, split.samples("train", other.usable_labels), 3)
    half = scene.labels.copy()
    half[:10] = 0
    write_windows(scene.replace(labels=half), path, size=3)
    with pytest.raises(
        LabelError, match=r"lacks windows for \d+ of the \d+ training pixels"
    ):
        windows_for(path, scene, samples, 3)


@pytest.mark.parametrize("coordinates_only", [False, True])
def test_a_scene_of_other_values_is_told_by_checksums(scene, tmp_path, coordinates_only):
    path = tmp_path / "C.h5"
    write_windows(scene, path, size=3, coordinates_only=coordinates_only)
    file = WindowFile.open(path, scene)
    np.testing.assert_array_equal(file.cut(), Windows.of(scene, file.samples, 3).cut())
    flipped = scene.cube.copy(data=scene.cube.values[:, ::-1])
    other = scene.replace(cube=flipped)
    with pytest.raises(SceneError, match="other values"):
        WindowFile.open(path, other)
    with pytest.raises(SceneError, match="other values"):
        WindowFile(path).take_part("none")[:3].seen_in(other)
    with pytest.raises(SceneError, match="other values"):
        windows_for(path, other, file.samples, 3)


def test_the_checksums_are_those_of_the_windows_in_the_file(scene, tmp_path):
    file = write_windows(scene, tmp_path / "W.h5", size=5)
    some = np.linspace(0, len(file) - 1, 32).astype(int)
    said = [
        hashlib.sha256(one.astype("<i2").tobytes()).hexdigest() for one in file[some].cut()
    ]
    assert list(file.metadata.checksums) == said


def test_the_parts_of_a_file_are_a_split_again(scene, tmp_path):
    made = BlockSplit(size=4, train=0.4, guard=1, validation=0.2).split(
        scene.usable_labels, seed=1, window=3
    )
    write_windows(scene, tmp_path / "W.h5", size=3, split=made)
    spec = WindowsSplitSpec(path=tmp_path / "W.h5")
    again = build_split(spec, scene, seed=5, window=3)
    labelled = scene.usable_labels > 0
    np.testing.assert_array_equal(again.parts[labelled], made.parts[labelled])
    assert not again.parts[~labelled].any()
    assert again.kind == "windows"
    assert "kind blocks" in again.notes[0]
    # intervals are drawn from the blocks that the parts were made of, or saved anew
    assert units_of_split(again.kind, again.settings) == BlockUnits(4)
    again.save(tmp_path)
    saved = SavedSplit(tmp_path).split(scene.usable_labels)
    assert units_of_split(saved.kind, saved.settings) == BlockUnits(4)
    assert again.settings["validation"] == 0.2
    with pytest.raises(SplitError, match="already has a validation part"):
        split_of(tmp_path / "W.h5", scene, validation=0.2)


def test_validation_pixels_are_drawn_where_the_file_has_none(scene, tmp_path):
    made = RandomSplit(train=0.5).split(scene.usable_labels)
    write_windows(scene, tmp_path / "W.h5", size=3, split=made)
    drawn = split_of(tmp_path / "W.h5", scene, validation=0.25, seed=2)
    both = drawn.mask("train") | drawn.mask("validation")
    np.testing.assert_array_equal(both, made.mask("train"))
    assert 0.2 < drawn.count("validation") / made.count("train") < 0.3
    other = split_of(tmp_path / "W.h5", scene, validation=0.25, seed=3)
    assert (other.mask("validation") != drawn.mask("validation")).any()


def test_splits_that_a_file_cannot_give(scene, tmp_path):
    path = tmp_path / "W.h5"
    write_windows(scene, path, size=3)
    with pytest.raises(SplitError, match="written without a split"):
        split_of(path, scene)
    with pytest.raises(SplitError, match="image of 20 × 16 pixels"):
        split_of(path, scene_of(rows=24))
    other = scene.replace(labels=np.where(scene.labels == 1, 2, scene.labels))
    with pytest.raises(LabelError, match="another class"):
        split_of(path, other)
    with pytest.raises(CallError):
        plan_windows(scene, path, split=Split(np.ones((3, 3), np.uint8)))


def test_labels_without_a_window_are_unused_and_counted(scene, tmp_path):
    made = RandomSplit(train=0.3).split(scene.usable_labels)
    few = scene.labels.copy()
    few[:3] = 0
    write_windows(scene.replace(labels=few), tmp_path / "W.h5", size=3, split=made)
    again = split_of(tmp_path / "W.h5", scene)
    bare = np.count_nonzero(scene.usable_labels[:3])
    assert again.notes[1] == f"Labelled pixels without a window in W.h5: {bare}, unused."
    assert not again.parts[:3].any()


def document(**changes):
    return {
        "name": "fields",
        "scene": {"path": "cube.npy"},
        "split": {"kind": "windows", "path": "W.h5"},
        "models": {"cnn": {"kind": "cnn", "window": 5, "windows": "W.h5"}},
    } | changes


def test_the_best_is_chosen_by_the_validation_part_of_the_file(scene, tmp_path):
    np.save(tmp_path / "cube.npy", scene.cube.values)
    write_labels(scene.labels, scene.legend, scene.grid, tmp_path / "labels.tif")
    where = {"path": "cube.npy", "labels": "labels.tif", "axes": "band,row,col"}
    models = {"svm": {"kind": "svm"}}
    for validation in (0.2, 0.0):
        opened = open_scene(
            tmp_path / "cube.npy", tmp_path / "labels.tif", axes=where["axes"]
        )
        made = RandomSplit(train=0.3, validation=validation).split(opened.usable_labels)
        write_windows(opened, tmp_path / "W.h5", size=3, split=made)
        experiment = parse(document(scene=where, models=models, map="best"), tmp_path)
        if validation:
            check_experiment(experiment)
        else:
            with pytest.raises(ExperimentError, match=r"map: best .* the split has none"):
                check_experiment(experiment)


def test_paths_of_window_files_count_from_the_experiment_file(tmp_path):
    for name in ("cube.npy", "W.h5", "V.h5"):
        (tmp_path / name).write_bytes(b"")
    experiment = parse(document(), tmp_path)
    assert experiment.split.path == experiment.models["cnn"].windows == tmp_path / "W.h5"
    with pytest.raises(CallError, match=r"models\.cnn\.windows: no file .*none\.h5"):
        parse(document(models={"cnn": {"kind": "cnn", "windows": "none.h5"}}), tmp_path)
    with pytest.raises(CallError, match=r"split\.path: no file"):
        parse(document(split={"kind": "windows", "path": "none.h5"}), tmp_path)


def test_a_path_at_the_prompt_counts_from_there(tmp_path, monkeypatch):
    import yaml

    (tmp_path / "a").mkdir()
    for name in ("a/cube.npy", "a/W.h5", "V.h5"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "e.yaml").write_text(yaml.safe_dump(document()))
    monkeypatch.chdir(tmp_path)
    changes = ["models.cnn.windows=V.h5", "split.path=V.h5"]
    experiment = load_experiment(tmp_path / "a" / "e.yaml", changes)
    assert experiment.split.path == experiment.models["cnn"].windows == tmp_path / "V.h5"


def test_a_task_is_another_once_its_window_file_is(tmp_path):
    for name in ("cube.npy", "W.h5"):
        (tmp_path / name).write_bytes(b"")
    experiment: Experiment = parse(document(), tmp_path)
    parts = [(experiment.split,), (experiment.models["cnn"],)]
    before = [fingerprint(experiment, *part) for part in parts]
    os.utime(tmp_path / "W.h5", (1, 1))
    after = [fingerprint(experiment, *part) for part in parts]
    assert all(old != new for old, new in zip(before, after, strict=True))
