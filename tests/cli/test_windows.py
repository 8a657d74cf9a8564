"""``hypercover windows``: said before, whole or not there, and the same training from it."""

import json
import os
import shutil
import subprocess
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import yaml

from hypercover.scene.io.reading import open_scene
from hypercover.splits.split import Split
from hypercover.windows.window_file import WindowFile
from hypercover.windows.windows import Windows

pytestmark = pytest.mark.usefixtures("sketched")

needs_h5dump = pytest.mark.skipif(
    shutil.which("h5dump") is None and "CI" not in os.environ,
    reason="HDF5's own tools are not installed (on Debian: hdf5-tools)",
)


@pytest.fixture
def write(fields, call, tmp_path):
    """Write the windows of the scene of fields."""

    def written(*options, name="W.h5"):
        words = ["windows", fields.image, "--labels", fields.labels, "-o", tmp_path / name]
        return call(*words, *options)

    return written


def test_size_and_growth_are_said_and_every_window_is_there(fields, write, tmp_path):
    answer = write("--size", 5)
    marked = np.count_nonzero(fields.codes)
    assert answer.code == 0
    raw = marked * 6 * 25 * 2
    said, where = answer.out.splitlines()
    assert said == (
        f"{marked:,} windows of 5 × 5 pixels and 6 bands: {raw / 1024:,.1f} KiB before "
        f"compression, 25 times the {raw / 25 / 1024:,.1f} KiB of their centre pixels"
    )
    assert where.startswith(f"Windows: {tmp_path}/W.h5 (")
    file = WindowFile(tmp_path / "W.h5")
    scene = open_scene(fields.image, fields.labels)
    np.testing.assert_array_equal(file.cut(), Windows.of(scene, file.samples, 5).cut())
    np.testing.assert_array_equal(file.labels, fields.codes[fields.codes > 0])
    assert file.legend.names == ("Corn", "Meadow", "Woods")
    assert file.metadata.grid == fields.grid
    np.testing.assert_allclose(file.wavelengths, np.linspace(450.0, 2300.0, 6))
    assert set(file.part) == {5}
    assert list(tmp_path.glob(".*")) == []


@needs_h5dump
def test_the_programs_of_hdf5_read_it(write, tmp_path):
    assert write("--train", 0.1).code == 0
    call = ["h5dump", "-H", str(tmp_path / "W.h5")]
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    for name in ("windows", "labels", "rows", "cols", "part"):
        assert f'DATASET "{name}"' in shown
    for name in (
        "format",
        "wavelengths",
        "legend",
        "padding",
        "nodata",
        "crs",
        "transform",
    ):
        assert f'ATTRIBUTE "{name}"' in shown
    call = [
        "h5dump",
        "-d",
        "windows",
        "-s",
        "3,0,0,0",
        "-c",
        "1,1,9,9",
        str(tmp_path / "W.h5"),
    ]
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    rows = [line.partition("): ")[2] for line in shown.splitlines() if "): " in line]
    values = [
        int(value) for value in ",".join(rows).replace(",,", ",").strip(",").split(",")
    ]
    expected = WindowFile(tmp_path / "W.h5")[3][0]
    np.testing.assert_array_equal(np.array(values).reshape(9, 9), expected)


def test_plain_h5py_reads_it_in_the_order_of_keras(write, tmp_path):
    assert write("--train", 0.2, "--seed", 4).code == 0
    with h5py.File(tmp_path / "W.h5") as file:
        train = file["part"][:] == 1
        x = np.transpose(file["windows"][train], (0, 2, 3, 1))[..., None]
        y = file["labels"][train]
    part = WindowFile(tmp_path / "W.h5").take_part("train")
    assert x.shape == (len(part), 9, 9, 6, 1)
    np.testing.assert_array_equal(x[:, 2, 3, 4, 0], part.cut()[:, 4, 2, 3])
    np.testing.assert_array_equal(y, part.labels)


def test_a_kept_split_is_noted(fields, write, tmp_path):
    parts = np.where(fields.codes > 0, 3, 0).astype(np.uint8)
    parts[:, :20] = np.where(parts[:, :20] > 0, 1, 0)
    parts[:, 20:24] = np.where(parts[:, 20:24] > 0, 4, 0)
    Split(parts).save(tmp_path / "kept")
    assert write("--split", tmp_path / "kept" / "split.tif").code == 0
    file = WindowFile(tmp_path / "W.h5")
    assert file.take_part("train").cols.max() < 20
    assert set(file.take_part("guard").cols) == {20, 21, 22, 23}
    assert file.take_part("test").cols.min() >= 24
    assert file.metadata.split == "given"


def test_bands_and_image_features_take_the_place_of_the_bands(write, tmp_path):
    assert write("--keep-bands", "2,4-5", "--size", 3).code == 0
    assert WindowFile(tmp_path / "W.h5").metadata.bands == (2, 4, 5)
    assert write("--chain", "pca:3", "--size", 3, name="P.h5").code == 0
    file = WindowFile(tmp_path / "P.h5")
    assert file.metadata.band_names == ("pca1", "pca2", "pca3")
    assert file.dtype == np.float32


def test_coordinates_alone_give_the_windows_with_the_scene(fields, write, tmp_path):
    assert write("--train", 0.1).code == 0
    answer = write("--train", 0.1, "--coordinates-only", name="C.h5")
    assert answer.code == 0
    assert "coordinates only" in answer.out
    scene = open_scene(fields.image, fields.labels)
    bare, whole = WindowFile.open(tmp_path / "C.h5", scene), WindowFile(tmp_path / "W.h5")
    np.testing.assert_array_equal(bare.cut(), whole.cut())
    np.testing.assert_array_equal(bare.part, whole.part)


@pytest.fixture
def interrupted(monkeypatch):
    """Press Ctrl-C after some pieces of windows."""

    def press(pieces):
        whole = Windows.cut
        # 32 are cut before, for the checksums
        left = [32 + pieces]

        def cut(self):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return whole(self)

        monkeypatch.setattr(Windows, "cut", cut)
        return lambda: monkeypatch.setattr(Windows, "cut", whole)

    monkeypatch.setattr("hypercover.experiment.window_export._PIECE", 20_000)
    monkeypatch.setattr("hypercover.windows.window_writer._CHECKPOINT", 30_000)
    return press


def test_stopped_it_goes_on_and_says_so(write, interrupted, tmp_path):
    release = interrupted(10)
    answer = write()
    assert answer.code == 130
    assert "run the same command again to resume" in answer.err
    assert not (tmp_path / "W.h5").exists()
    release()
    answer = write()
    assert answer.code == 0
    assert "Going on after " in answer.out
    went_on = WindowFile(tmp_path / "W.h5").cut()
    assert write(name="V.h5").code == 0
    np.testing.assert_array_equal(went_on, WindowFile(tmp_path / "V.h5").cut())
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("same", [True, False])
def test_a_scene_that_was_touched_goes_on(write, fields, interrupted, tmp_path, same):
    release = interrupted(10)
    assert write().code == 130
    release()
    content = bytearray(fields.image.read_bytes())
    content[-1] ^= not same
    fields.image.write_bytes(content)
    os.utime(fields.image, (1, 1))
    answer = write()
    assert answer.code == 0
    assert ("Going on after " in answer.out) == same
    assert list(tmp_path.glob(".*")) == []


def test_a_draft_of_another_size_is_discarded_and_it_is_said(write, interrupted, tmp_path):
    release = interrupted(10)
    assert write().code == 130
    release()
    answer = write("--size", 5)
    assert "A draft of another scene, size or split was discarded." in answer.out
    assert "Going on" not in answer.out
    assert WindowFile(tmp_path / "W.h5").window == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--size", 4), "must be odd and at least 1, got 4"),
        (("--size", 41), "larger than the image"),
        (("--train", "few"), "--train takes a share"),
        (("--train", 0.1, "--split", "x.tif"), "give one of them"),
        (("--split", "x.tif"), "x.json"),
        (("--chain", "nonsense"), "nonsense"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_leaves_nothing(write, tmp_path, options, words):
    assert words in write(*options).sentence
    assert not [path for path in tmp_path.iterdir() if path.name != "in"]


def test_the_scene_is_never_written_over(fields, call):
    before = fields.image.read_bytes()
    answer = call("windows", fields.image, "-l", fields.labels, "-o", fields.image)
    assert answer.sentence
    assert fields.image.read_bytes() == before


@pytest.mark.parametrize("room", [0, 30, 200])
def test_a_full_disk_is_refused_before_anything_is_written(fields, call, small_disk, room):
    disk = small_disk("size=1m")
    (disk / "filler").write_bytes(bytes((1024 - room) * 1024))
    out = disk / "new" / "folder" / "W.h5"
    answer = call("windows", fields.image, "-l", fields.labels, "-o", out)
    assert answer.code == 2
    assert "disk is full" in answer.err
    assert "81 times the" in answer.out
    assert [path.name for path in disk.iterdir()] == ["filler"]


def test_a_folder_that_is_there_stays(fields, call, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "hypercover.windows.window_writer.shutil.disk_usage",
        lambda folder: SimpleNamespace(free=10),
    )
    (tmp_path / "there").mkdir()
    out = tmp_path / "there" / "new" / "W.h5"
    answer = call("windows", fields.image, "-l", fields.labels, "-o", out)
    assert answer.code == 2
    assert "disk is full" in answer.err
    assert list((tmp_path / "there").iterdir()) == []


def test_a_file_without_its_windows_stops_a_run(fields, call, tmp_path):
    words = ["windows", fields.image, "-l", fields.labels, "--size", 5]
    assert call(*words, "-o", fields.folder / "W.h5").code == 0
    with h5py.File(fields.folder / "W.h5", "r+") as file:
        del file["windows"]
    document = yaml.safe_load(fields.experiment.read_text())
    document["models"] = {"cnn": {"kind": "cnn", "window": 5, "windows": "W.h5"}}
    fields.experiment.write_text(yaml.safe_dump(document))
    answer = call("run", fields.experiment, "-o", tmp_path / "run")
    assert "its dataset windows is missing" in answer.sentence


@pytest.mark.parametrize("size", [4, 8, 20, 40, 60, 100])
def test_a_disk_that_fills_up_meanwhile_is_said(
    fields, call, small_disk, monkeypatch, size
):
    disk = small_disk(f"size={size}k")
    monkeypatch.setattr(
        "hypercover.windows.window_writer.WindowWriter.check_space", lambda *_: None
    )
    answer = call("windows", fields.image, "-l", fields.labels, "-o", disk / "W.h5")
    assert answer.code == 2
    assert "the disk is full" in answer.err.splitlines()[-1]
    assert "Traceback" not in answer.err
    assert list(disk.iterdir()) == []


def run(call, fields, folder, **changes):
    """Run an experiment with a small network; return its figures without times, its weights."""
    document = yaml.safe_load(fields.experiment.read_text())
    model = {"kind": "cnn", "window": 5, "epochs": 2} | changes.pop("model", {})
    document |= {"models": {"cnn": model}, "map": False} | changes
    fields.experiment.write_text(yaml.safe_dump(document))
    answer = call("run", fields.experiment, "-o", folder)
    assert answer.code == 0, answer.err
    metrics = json.loads((folder / "metrics.json").read_text())
    weights = (folder / "models" / "cnn" / "weights.safetensors").read_bytes()
    return without_times(metrics["models"]), weights


def without_times(value):
    """Leave out what two equal runs differ in."""
    if not isinstance(value, dict):
        return value
    return {key: without_times(one) for key, one in value.items() if "seconds" not in key}


def test_a_run_from_a_file_is_the_run_without(fields, call, tmp_path):
    plain = run(call, fields, tmp_path / "plain")
    kept = tmp_path / "plain" / "split.tif"
    words = ["windows", fields.image, "-l", fields.labels, "--size", 5, "--split", kept]
    assert call(*words, "-o", fields.folder / "W.h5").code == 0
    assert run(call, fields, tmp_path / "file", model={"windows": "W.h5"}) == plain
    split = {"kind": "windows", "path": "W.h5"}
    both = run(call, fields, tmp_path / "both", model={"windows": "W.h5"}, split=split)
    assert both == plain


def test_a_hostile_file_stops_a_run_with_one_sentence(fields, call, tmp_path):
    (fields.folder / "W.h5").write_bytes(b"nonsense")
    document = yaml.safe_load(fields.experiment.read_text())
    document["models"] = {"cnn": {"kind": "cnn", "window": 5, "windows": "W.h5"}}
    fields.experiment.write_text(yaml.safe_dump(document))
    answer = call("run", fields.experiment, "-o", tmp_path / "run")
    assert answer.code == 2
    assert "W.h5 cannot be used: it is not an HDF5 file, or cut short" in answer.err


def test_windows_of_image_features_fit_a_model_that_takes_them(fields, call, tmp_path):
    words = ["windows", fields.image, "-l", fields.labels, "--chain", "pca:3"]
    assert call(*words, "--size", 5, "-o", fields.folder / "W.h5").code == 0
    few = {"features": {"few": "pca:3"}}
    plain = run(call, fields, tmp_path / "plain", model={"features": "few"}, **few)
    model = {"features": "few", "windows": "W.h5"}
    assert run(call, fields, tmp_path / "file", model=model, **few) == plain
    changed = ["--set", "models.cnn.window=3", "-o", tmp_path / "small"]
    answer = call("run", fields.experiment, *changed)
    assert "have 5 × 5 pixels, but the model takes 3 × 3" in answer.sentence
    assert not (tmp_path / "small").exists()
