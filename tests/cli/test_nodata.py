"""No data is stated with one option by every command that opens an image."""

import h5py
import numpy as np
import pytest
import yaml

from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.prediction.map_prediction import nodata_from_card
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene

LOOKS = "are -9999 in all bands examined, which looks like no data"


@pytest.fixture
def filled(fields):
    """The fields with a border that holds -9999 and declares nothing."""
    fields.cube[:, :, :7] = -9999
    scene = open_scene(fields.image, labels=False)
    fields.filled = fields.folder / "filled.tif"
    write_scene(scene.replace(cube=scene.cube.copy(data=fields.cube)), fields.filled)
    fields.border = np.zeros(fields.codes.shape, bool)
    fields.border[:, :7] = True
    return fields


def test_info_names_value_count_and_option(filled, call):
    found = call("info", filled.filled, "-o", filled.folder)
    assert "no data       0 of 1920 pixels" in found.out
    text = " ".join(found.out.split())
    assert "Of 1,920 pixels, 280 are -9999 in all bands" in text
    assert "--nodata -9999" in text
    assert "(scene.nodata: -9999)" in text
    stated = call("info", filled.filled, "--nodata", -9999, "-o", filled.folder)
    assert "no data       280 of 1920 pixels (no data is -9999)" in stated.out
    assert "looks like" not in stated.out


def test_what_is_written_declares_what_was_stated(filled, call):
    out = filled.folder / "out.tif"
    plain = call("features", filled.filled, "-c", "pca:2", "-o", out)
    assert f"Note: filled: Of 1,920 pixels, 280 {LOOKS}" in plain.out
    made = call("features", filled.filled, "-c", "pca:2", "-o", out, "--nodata", "-9999")
    assert (made.code, "Note" in made.out) == (0, False)
    np.testing.assert_array_equal(open_scene(out).valid, ~filled.border)
    area = filled.folder / "area.tif"
    assert (
        call("clip", filled.filled, filled.labels, "-o", area, "--nodata=-9999").code == 0
    )
    clipped = open_scene(area)
    assert clipped.nodata == -9999
    inside = np.flatnonzero((filled.codes > 0).any(axis=1))
    expected = (filled.codes > 0) & ~filled.border
    np.testing.assert_array_equal(clipped.valid, expected[inside[0] : inside[-1] + 1])


def test_samples_and_windows_leave_stated_no_data_out(filled, call):
    data, windows = filled.folder / "a.el", filled.folder / "w.h5"
    stated = ["--nodata", "-9999", "--labels", filled.labels]
    assert call("libsvm", "write", filled.filled, *stated, "-o", data).code == 0
    labelled = np.count_nonzero(filled.codes[~filled.border])
    assert len(data.read_text().splitlines()) == labelled
    made = call("windows", filled.filled, *stated, "-o", windows, "--size", 3)
    assert f"{labelled:,} windows".replace(",", "") in made.out.replace(",", "")
    with h5py.File(windows) as file:
        cut = [np.asarray(part) for part in file.values() if part.ndim == 4]
        assert len(cut) == 1
        assert (cut[0] != -9999).all()


def test_a_map_is_empty_where_stated_no_data_lies(filled, call):
    document = yaml.safe_load(filled.experiment.read_text())
    document["scene"] |= {"path": "filled.tif", "nodata": -9999}
    filled.experiment.write_text(yaml.safe_dump(document))
    out = filled.folder / "run"
    found = call("run", filled.experiment, "-o", out)
    assert found.code == 0
    assert "No data as stated: -9999" in " ".join(found.out.split())
    assert "looks like" not in found.out
    mapped = open_scene(out / "maps" / "svm.tif", labels=False).cube.values[0]
    np.testing.assert_array_equal(mapped == 0, filled.border)
    again = filled.folder / "map.tif"
    made = call("predict", out / "models/svm", filled.filled, "-o", again, "--nodata=-9999")
    assert made.code == 0
    same = open_scene(again, labels=False).cube.values[0]
    np.testing.assert_array_equal(same, mapped)
    # The model's card carries what was stated.
    made = call("predict", out / "models/svm", filled.filled, "-o", again)
    assert "Note: -9999 also means no data, as in the image" in made.out
    np.testing.assert_array_equal(open_scene(again, labels=False).cube.values[0], mapped)
    bytes_ = open_scene(filled.image, labels=False)
    bytes_ = bytes_.replace(cube=(bytes_.cube.clip(0, 250)).astype("uint8"))
    assert nodata_from_card(out / "models/svm", bytes_) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("water", "scene.nodata must be numbers, all-zero or none, got 'water'"),
        ([1, "x"], "got 'x'"),
    ],
)
def test_an_experiment_states_numbers_or_known_words(fields, given, words, call):
    document = yaml.safe_load(fields.experiment.read_text())
    document["scene"]["nodata"] = given
    fields.experiment.write_text(yaml.safe_dump(document))
    found = call("run", fields.experiment)
    assert found.code == 2
    assert words in " ".join(found.err.split())
    document["scene"]["nodata"] = [-9999, "all-zero"]
    fields.experiment.write_text(yaml.safe_dump(document))
    assert load_experiment(fields.experiment).scene.nodata == [-9999, "all-zero"]


def test_a_value_that_cannot_occur_is_refused(fields, call):
    found = call("info", fields.image, "--nodata", "0.5", "-o", fields.folder)
    assert found.code == 2
    assert "No pixel of cube can be 0.5" in found.err
