"""``hypercover libsvm``: out to LIBSVM's own programs, and back to a map."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from sklearn.datasets import load_svmlight_file

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.experiment.config.builders import build_split
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.features.chain import NWFE_FEATURES
from hypercover.features.nwfe import NWFE
from hypercover.libsvm.data import read_libsvm
from hypercover.libsvm.positions import positions_path, read_positions
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.metadata import with_header
from hypercover.splits.split import Split
from hypercover.windows.window_file import WindowFile

HEADER = {"reflectance scale factor": "10000", "sensor type": "HyMap"}

needs_libsvm = pytest.mark.skipif(
    shutil.which("svm-train") is None and "CI" not in os.environ,
    reason="LIBSVM's programs are not installed (on Debian: libsvm-tools)",
)


def libsvm(program, *words):
    call = [program, *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def write(fields, call, tmp_path):
    """Write the scene of fields as LIBSVM data."""

    def written(*options, name="f.el", labels=True):
        which = ["--labels", fields.labels] if labels else []
        return call(
            "libsvm", "write", fields.image, *which, "-o", tmp_path / name, *options
        )

    return written


def test_every_labelled_pixel_is_written_with_its_place(fields, write, tmp_path):
    answer = write()
    assert answer.code == 0
    marked = np.count_nonzero(fields.codes)
    assert answer.out == (
        f"Data: {tmp_path}/f.el ({marked:,} samples, 6 features: bands)\n"
        f"Positions: {tmp_path}/f.positions.json\n"
    )
    labels, values = read_libsvm(tmp_path / "f.el", 6, dense=True, dtype=np.int16)
    places = read_positions(tmp_path / "f.positions.json")
    np.testing.assert_array_equal(labels, fields.codes[fields.codes > 0])
    np.testing.assert_array_equal(values, fields.cube[:, places.rows, places.cols].T)
    np.testing.assert_array_equal(labels, fields.codes[places.rows, places.cols])
    assert places.grid == fields.grid
    assert places.legend.names == ("Corn", "Meadow", "Woods")
    assert places.features[:2] == ("band 1", "band 2")
    assert (places.part, places.dtype, places.seen) == ("labelled", "int16", "bands")


@pytest.mark.parametrize("options", [(), ("--all",), ("--train", 0.3)])
def test_a_scene_is_written_strip_by_strip_as_it_is_at_once(
    options, fields, write, monkeypatch, tmp_path
):
    assert write(*options).code == 0
    for name in ("_STRIP", "_MOST_STRIP"):
        size = 7 * 6 * fields.codes.shape[1]
        monkeypatch.setattr(f"hypercover.scene.scene.{name}", size)
    assert write(*options, name="g.el").code == 0
    files = sorted(tmp_path.glob("f*.el"))
    assert len(files) == (2 if "--train" in options else 1)
    for file in files:
        other = file.with_name(file.name.replace("f", "g", 1))
        assert other.read_bytes() == file.read_bytes()


def test_a_share_draws_training_and_test_files(fields, write, tmp_path):
    assert write("--train", 0.1, "--seed", 3).code == 0
    found = {}
    for part in ("training", "test"):
        places = read_positions(tmp_path / f"f-{part}.positions.json")
        labels, _ = read_libsvm(tmp_path / f"f-{part}.el", 6)
        assert places.part == part
        found[part] = set(zip(places.rows.tolist(), places.cols.tolist(), strict=True))
        assert len(found[part]) == len(labels)
    assert not found["training"] & found["test"]
    assert len(found["training"] | found["test"]) == np.count_nonzero(fields.codes)
    assert not (tmp_path / "f-validation.el").exists()
    first = (tmp_path / "f-training.el").read_bytes()
    assert write("--train", 0.1, "--seed", 3, name="g.el").code == 0
    assert (tmp_path / "g-training.el").read_bytes() == first
    assert write("--train", 5, name="h.el").code == 0
    assert len(read_libsvm(tmp_path / "h-training.el", 6)[0]) == 15


def test_half_a_pixel_is_rounded_as_asked(fields, write, tmp_path):
    counts = np.bincount(fields.codes.ravel())[1:]
    share = 2.5 / counts[0]
    assert write("--train", share, "--halves", "up").code == 0
    labels, _ = read_libsvm(tmp_path / "f-training.el", 6)
    assert (labels == 1).sum() == 3
    assert write("--train", share, name="g.el").code == 0
    labels, _ = read_libsvm(tmp_path / "g-training.el", 6)
    assert (labels == 1).sum() == 2
    assert "--halves takes even or up" in write("--train", 0.5, "--halves", "down").sentence


def test_nwfe_and_scaling_are_learnt_from_the_training_pixels(fields, write, tmp_path):
    answer = write("--train", 0.5, "--nwfe", 2, "--scale")
    assert answer.code == 0
    assert f"Scaling: {tmp_path / 'f.range'}" in answer.out
    for part in ("training", "test"):
        _, values = read_libsvm(tmp_path / f"f-{part}.el", 2, dense=True)
        places = read_positions(tmp_path / f"f-{part}.positions.json")
        assert places.seen == "bands, nwfe:2, scaled to 0 to 1 by the training pixels"
        if part == "training":
            np.testing.assert_array_equal(values.min(axis=0), 0)
            np.testing.assert_array_equal(values.max(axis=0), 1)


def test_the_lectures_chain_means_its_nwfe_too(write, tmp_path, monkeypatch):
    monkeypatch.setitem(NWFE_FEATURES, "lecture", 4)
    assert write("--chain", "lecture").code == 0
    assert read_positions(tmp_path / "f.positions.json").n_features == 4
    assert write("--chain", "lecture", "--nwfe", 0, name="g.el").code == 0
    assert read_positions(tmp_path / "g.positions.json").n_features > 100
    answer = write("--chain", "lecture", "--all", name="h.el", labels=False)
    assert answer.code == 2


def test_a_prediction_without_a_last_line_break_is_mapped(predicted, call, tmp_path):
    predicted.write_text(predicted.read_text()[:-1])
    out = tmp_path / "map.tif"
    answer = call(
        "libsvm", "map", predicted, "--positions", tmp_path / "f.positions.json", "-o", out
    )
    assert answer.code == 0
    assert out.exists()


def test_a_kept_split_is_followed(fields, write, tmp_path):
    parts = np.where(fields.codes > 0, 3, 0).astype(np.uint8)
    parts[:, :20] = np.where(parts[:, :20] > 0, 1, 0)
    parts[:, 20:24] = np.where(parts[:, 20:24] > 0, 4, 0)
    Split(parts).save(tmp_path / "kept")
    assert write("--split", tmp_path / "kept" / "split.tif").code == 0
    train = read_positions(tmp_path / "f-training.positions.json")
    test = read_positions(tmp_path / "f-test.positions.json")
    assert train.cols.max() < 20
    assert test.cols.min() >= 24


@needs_libsvm
@pytest.mark.parametrize("probable", [False, True], ids=["labels", "probabilities"])
def test_a_prediction_becomes_a_map_with_names_and_place(
    probable, fields, write, call, tmp_path
):
    """What the lecture calls the disadvantage of the format, undone."""
    assert write("--train", 0.2).code == 0
    options = ["-b", 1] if probable else []
    names = [tmp_path / f"f-{part}.el" for part in ("training", "test")]
    for file in names:
        scaled = file.with_suffix(".scaled")
        keep = "-s" if file == names[0] else "-r"
        scaled.write_text(libsvm("svm-scale", keep, tmp_path / "f.range", file))
    model, said = tmp_path / "f.model", tmp_path / "said.txt"
    libsvm("svm-train", "-q", *options, names[0].with_suffix(".scaled"), model)
    libsvm("svm-predict", *options, names[1].with_suffix(".scaled"), model, said)
    more = ["--confidence", tmp_path / "sure.tif"] if probable else []
    places = tmp_path / "f-test.positions.json"
    answer = call(
        "libsvm", "map", said, "--positions", places, "-o", tmp_path / "map.tif", *more
    )
    assert answer.code == 0
    assert answer.out.startswith(f"Map: {tmp_path}/map.tif (")
    lines = said.read_text().splitlines()[probable:]
    at = read_positions(places)
    scene = open_scene(fields.image, tmp_path / "map.tif")
    assert scene.grid == fields.grid
    assert scene.legend.names == ("Corn", "Meadow", "Woods")
    assert [land.color for land in scene.legend] == [land.color for land in fields.legend]
    codes = [int(line.split()[0]) for line in lines]
    np.testing.assert_array_equal(scene.labels[at.rows, at.cols], codes)
    assert np.count_nonzero(scene.labels) == len(lines)
    assert np.mean(np.array(codes) == fields.codes[at.rows, at.cols]) > 0.9
    if probable:
        with rasterio.open(tmp_path / "sure.tif") as file:
            sure = file.read(1)
        best = [max(map(float, line.split()[1:])) for line in lines]
        np.testing.assert_allclose(sure[at.rows, at.cols], best, rtol=1e-6)
        assert np.isnan(sure).sum() == sure.size - len(lines)


@pytest.fixture
def kept(fields, tmp_path):
    """Keep an SVM trained on the scene, reduced or not."""

    def made(reduction=None, probability=False):
        rows, cols = np.nonzero(fields.codes)
        spectra = fields.cube[:, rows, cols].T.astype(float)
        svm = SVMClassifier(C=10, reduction=reduction, probability=probability)
        svm.fit(spectra[::5], fields.codes[rows, cols][::5])
        card = {
            "bands": [1, 2, 3, 4, 5, 6],
            "wavelengths": np.linspace(450.0, 2300.0, 6).tolist(),
            "fwhm": None,
            "legend": fields.legend.to_json(),
            "window": 1,
        }
        save_bundle(tmp_path / "kept", svm, card)
        return tmp_path / "kept"

    return made


@needs_libsvm
@pytest.mark.parametrize("reduced", [False, True], ids=["scaled", "reduced"])
def test_an_exported_model_maps_the_whole_scene_as_predict_does(
    reduced, write, kept, call, fields, tmp_path
):
    from sklearn.decomposition import PCA

    model = kept(PCA(3) if reduced else None)
    answer = call("libsvm", "export", model, "-o", tmp_path / "f.model")
    assert answer.code == 0
    assert f"hypercover libsvm write SCENE --model {model}" in answer.out
    assert (tmp_path / "f.model.range").exists() is not reduced
    assert ("svm-scale -r" in answer.out) is not reduced
    assert write("--all", "--model", model, labels=False).code == 0
    libsvm("svm-predict", tmp_path / "f.el", tmp_path / "f.model", tmp_path / "said.txt")
    places = tmp_path / "f.positions.json"
    answer = call(
        "libsvm",
        "map",
        tmp_path / "said.txt",
        "--positions",
        places,
        "-o",
        tmp_path / "theirs.tif",
    )
    assert answer.code == 0
    assert call("predict", model, fields.image, "-o", tmp_path / "ours.tif").code == 0
    with (
        rasterio.open(tmp_path / "theirs.tif") as a,
        rasterio.open(tmp_path / "ours.tif") as b,
    ):
        np.testing.assert_array_equal(a.read(1), b.read(1))
    assert read_positions(places).n_features == (3 if reduced else 6)


@needs_libsvm
def test_an_imported_model_maps_a_scene_as_svm_predict_does(write, call, fields, tmp_path):
    assert write("--train", 0.2).code == 0
    assert write("--all", name="every.el").code == 0
    data, model = tmp_path / "f-training.el", tmp_path / "f.model"
    libsvm("svm-train", "-q", "-c", 10, "-g", 1e-6, data, model)
    libsvm("svm-predict", tmp_path / "every.el", model, tmp_path / "said")
    bundle = tmp_path / "imported"
    answer = call(
        "libsvm",
        "import",
        tmp_path / "f.model",
        "--scene",
        fields.image,
        "-l",
        fields.labels,
        "-o",
        bundle,
    )
    assert answer.code == 0
    assert "3 classes, 6 bands" in answer.out
    card = load_bundle(bundle).card
    assert [land["name"] for land in card["legend"]] == ["Corn", "Meadow", "Woods"]
    assert card["wavelengths"] == np.linspace(450.0, 2300.0, 6).tolist()
    assert call("predict", bundle, fields.image, "-o", tmp_path / "map.tif").code == 0
    with rasterio.open(tmp_path / "map.tif") as file:
        codes = file.read(1)
    said = np.array((tmp_path / "said").read_text().split(), int).reshape(codes.shape)
    np.testing.assert_array_equal(codes, said)
    assert np.mean(codes[fields.codes > 0] == fields.codes[fields.codes > 0]) > 0.9


@pytest.mark.parametrize("suffix", [".tif", ".hdr"])
def test_training_and_test_files_become_the_scene_again(
    suffix, write, call, fields, tmp_path
):
    assert write("--train", 0.3).code == 0
    files = [tmp_path / f"f-{part}.el" for part in ("training", "test")]
    answer = call("libsvm", "read", *files, "-o", tmp_path / f"back{suffix}")
    assert answer.code == 0
    assert f"Labels: {tmp_path}/back-labels.tif\n" in answer.out
    scene = open_scene(tmp_path / f"back{suffix}", tmp_path / "back-labels.tif")
    marked = fields.codes > 0
    np.testing.assert_array_equal(scene.labels, fields.codes)
    np.testing.assert_array_equal(scene.cube.values[:, marked], fields.cube[:, marked])
    np.testing.assert_array_equal(scene.valid, marked)
    assert scene.cube.dtype == np.int16
    assert scene.grid == fields.grid
    assert scene.legend.names == ("Corn", "Meadow", "Woods")
    np.testing.assert_allclose(scene.wavelengths, np.linspace(450.0, 2300.0, 6))


def test_bands_keep_their_numbers_and_arrays_their_types(write, call, fields, tmp_path):
    assert write("--keep-bands", "2,4-5").code == 0
    answer = call("libsvm", "read", tmp_path / "f.el", "-o", tmp_path / "back.npz")
    assert answer.out == f"Arrays: {tmp_path}/back.npz\n"
    with np.load(tmp_path / "back.npz") as back:
        at = back["row"], back["col"]
        assert back["X"].dtype == np.int16
        np.testing.assert_array_equal(back["X"], fields.cube[[1, 3, 4]][:, *at].T)
        np.testing.assert_array_equal(back["y"], fields.codes[at])
        assert back["feature"].tolist() == ["band 2", "band 4", "band 5"]
    assert call("libsvm", "read", tmp_path / "f.el", "-o", tmp_path / "back.tif").code == 0
    assert open_scene(tmp_path / "back.tif").bands.tolist() == [2, 4, 5]


def test_published_files_without_positions_become_arrays(call, tmp_path):
    """The last feature is zero, and so left out, in the test file alone."""
    training, test = tmp_path / "indian_training.el", tmp_path / "indian_test.el"
    training.write_text("2 1:0.5 2:-1.25 3:4\n14 1:1 2:0 3:0.1\n")
    test.write_text("14 1:7 2:8\n")
    answer = call("libsvm", "read", training, test, "-o", tmp_path / "sets.npz")
    assert answer.out == f"Arrays: {tmp_path}/sets.npz\n"
    with np.load(tmp_path / "sets.npz") as read:
        assert set(read) == {"X", "y"}
        assert read["y"].tolist() == [2, 14, 14]
        assert read["X"].tolist() == [[0.5, -1.25, 4.0], [1.0, 0.0, 0.1], [7.0, 8.0, 0.0]]
    placeless = call("libsvm", "read", training, "-o", tmp_path / "sets.tif")
    assert "no positions file, so its samples have no position" in placeless.sentence
    gone = call("libsvm", "read", tmp_path / "gone.el", "-o", tmp_path / "gone.npz")
    assert gone.sentence == f"There is no file {tmp_path}/gone.el; check the path."
    assert not (tmp_path / "sets.tif").exists()


def test_widths_bad_bands_and_header_come_back(fields, write, call, tmp_path):
    scene = open_scene(fields.image)
    along = {"fwhm": np.linspace(9, 11, 6), "bad": np.arange(6) == 3}
    cube = scene.cube.assign_coords({key: ("band", one) for key, one in along.items()})
    write_scene(scene.replace(cube=with_header(cube, HEADER)), fields.image)
    assert write().code == 0
    assert call("libsvm", "read", tmp_path / "f.el", "-o", tmp_path / "back.hdr").code == 0
    back = open_scene(tmp_path / "back.hdr")
    np.testing.assert_array_equal(back.fwhm, along["fwhm"])
    np.testing.assert_array_equal(back.bad, along["bad"])
    assert back.header.items() >= HEADER.items()


def test_image_features_are_written_and_come_back_with_their_names(write, call, tmp_path):
    assert write("--chain", "pca:3", "--all", "--sparse").code == 0
    places = read_positions(tmp_path / "f.positions.json")
    assert places.features == ("pca1", "pca2", "pca3")
    assert (places.dtype, places.seen, places.dense) == ("float32", "pca:3", False)
    assert places.wavelengths is None
    assert call("libsvm", "read", tmp_path / "f.el", "-o", tmp_path / "back.tif").code == 0
    with rasterio.open(tmp_path / "back.tif") as file:
        assert file.descriptions == ("pca1", "pca2", "pca3")
        assert file.dtypes == ("float32",) * 3


def test_a_model_on_image_features_writes_what_its_machines_see(
    fields, write, call, tmp_path
):
    document = yaml.safe_load(fields.experiment.read_text())
    document["features"] = {"few": "pca:4"}
    document["models"] = {"svm": {"kind": "svm", "features": "few"}}
    fields.experiment.write_text(yaml.safe_dump(document))
    run = tmp_path / "run"
    assert call("run", fields.experiment, "-o", run).code == 0
    # The model of the split: the one beside it was trained on all labelled pixels.
    model = run / "models" / "svm" / "split"
    assert write("--model", model, "--split", run / "split.tif").code == 0
    _, values = read_libsvm(tmp_path / "f-training.el", 4)
    # The machines see standardised features of the training pixels.
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-5)
    answer = call("libsvm", "export", model, "-o", tmp_path / "f.model")
    assert "The model sees image features" in answer.out
    assert not (tmp_path / "f.model.range").exists()


@pytest.mark.parametrize("reduced", [False, True], ids=["scaled", "reduced"])
def test_an_export_leaves_the_file_of_svm_scale_alone(reduced, kept, call, tmp_path):
    from sklearn.decomposition import PCA

    theirs = tmp_path / "f.range"
    theirs.write_text("of svm-scale")
    model = kept(PCA(3) if reduced else None)
    assert call("libsvm", "export", model, "-o", tmp_path / "f.model").code == 0
    assert theirs.read_text() == "of svm-scale"


def test_data_are_never_written_over_what_they_are_made_from(fields, write, call, tmp_path):
    assert write().code == 0
    said, places = tmp_path / "said.tif", tmp_path / "f.positions.json"
    said.write_text("2\n")
    words = ["libsvm", "write", fields.image, "--labels", fields.labels, "-o"]
    for source, more in (
        (fields.image, [*words, fields.image]),
        (fields.labels, [*words, fields.labels]),
        (said, ["libsvm", "map", said, "--positions", places, "-o", said]),
        (fields.image, ["predict", tmp_path, fields.image, "-o", fields.image]),
    ):
        before = source.read_bytes()
        assert f"would destroy {source}" in call(*more).sentence
        assert source.read_bytes() == before


def test_info_counts_with_and_without_positions(fields, write, call, tmp_path):
    assert write().code == 0
    answer = call("libsvm", "info", tmp_path / "f.el")
    assert answer.code == 0
    for fact in ("6: bands", "40 rows × 48 columns", "all written", "Meadow", "cube"):
        assert fact in answer.out
    for code in (1, 2, 3):
        assert str(np.count_nonzero(fields.codes == code)) in answer.out
    (tmp_path / "f.positions.json").unlink()
    answer = call("libsvm", "info", tmp_path / "f.el")
    assert "6 is the largest index; there may be more" in answer.out
    assert "Meadow" not in answer.out


@pytest.mark.parametrize("verb", ["write", "map", "info", "read", "export", "import"])
def test_help_of_every_verb_has_an_example(call, verb):
    answer = call("libsvm", verb, "--help")
    assert answer.code == 0
    assert f"Example: hypercover libsvm {verb}" in " ".join(answer.out.split())


@pytest.fixture
def predicted(write, tmp_path):
    """Write the scene and a prediction of nothing but meadows."""
    assert write().code == 0
    count = len(read_positions(tmp_path / "f.positions.json"))
    (tmp_path / "said.txt").write_text("2\n" * count)
    return tmp_path / "said.txt"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-2], "labels where"),
        (lambda text: text + "2\n", "holds more than"),
        (
            lambda text: "corn\n" + text[2:],
            "could not convert string 'corn' to float64 at row 0",
        ),
        (lambda text: "-1\n" + text[2:], "line 1: the label -1 is not a class code"),
        (lambda text: "70000\n" + text[2:], "is not a class code from 1 to 65535"),
        (lambda text: "1.5\n" + text[2:], "the label 1.5"),
        (lambda text: "nan\n" + text[2:], "the label nan"),
        (lambda text: "\n" + text[2:], "labels where"),
        (
            lambda text: "2 0.5\n" + text[2:],
            "number of columns changed from 2 to 1 at row 2",
        ),
        (
            lambda text: "labels 1 2\n2 0.5\n" + text[2:],
            "number of columns changed from 2 to 1",
        ),
        (
            lambda text: "labels 1\n2 0.5\n" + text[2:],
            "number of columns changed from 2 to 1",
        ),
        (
            lambda text: "labels 2\n" + text.replace("2\n", "2 7\n"),
            "line 2: the probability 7 is not",
        ),
        (lambda text: "", "holds 0 labels where"),
    ],
)
def test_a_wrong_prediction_makes_no_map(change, said, predicted, call, tmp_path):
    predicted.write_text(change(predicted.read_text()))
    answer = call(
        "libsvm",
        "map",
        predicted,
        "--positions",
        tmp_path / "f.positions.json",
        "-o",
        tmp_path / "map.tif",
    )
    assert said in answer.sentence
    assert str(predicted) in answer.sentence
    assert not (tmp_path / "map.tif").exists()


def test_a_wrong_call_is_one_sentence(fields, write, call, predicted, kept, tmp_path):
    places, model = tmp_path / "f.positions.json", kept()
    assert "has no labels; give a label file" in write(labels=False).sentence
    assert "give one of them" in write("--train", 0.1, "--split", "s.tif").sentence
    assert (
        "leave --chain or --model out" in write("--chain", "pca", "--model", model).sentence
    )
    assert "--train takes a share" in write("--train", "some").sentence
    assert "cannot be written at once" in write("--all", "--train", 0.1).sentence
    assert "split.json" in write("--split", tmp_path / "split.tif").sentence
    assert "lacks band 6" in write("--keep-bands", "1-5", "--model", model).sentence
    mapped = ["libsvm", "map", predicted, "--positions", places, "-o"]
    assert "give it the suffix .tif" in call(*mapped, tmp_path / "map.png").sentence
    more = [tmp_path / "map.tif", "--confidence", tmp_path / "sure.tif"]
    assert "predict with svm-predict -b 1" in call(*mapped, *more).sentence
    read = ["libsvm", "read", tmp_path / "f.el"]
    assert "give it one of these suffixes" in call(*read, "-o", tmp_path / "a.png").sentence
    twice = call(*read, tmp_path / "f.el", "-o", tmp_path / "a.tif")
    assert "share a pixel" in twice.sentence
    two = call(*read, tmp_path / "f.el", "-o", tmp_path / "a.tif", "--positions", places)
    assert "belongs to one data file, got 2" in two.sentence
    assert call("libsvm", "export", tmp_path / "none", "-o", "f.model").code == 2


def test_positions_of_other_data_are_refused(write, call, tmp_path):
    assert write().code == 0
    lines = (tmp_path / "f.el").read_text().splitlines(keepends=True)
    (tmp_path / "f.el").write_text("".join(lines[:-1]))
    for words in (["info", tmp_path / "f.el"], ["read", tmp_path / "f.el", "-o", "a.tif"]):
        assert "that was written with the data" in call("libsvm", *words).sentence
    (tmp_path / "f.el").write_text("".join(lines).replace("3 1:", "-3 1:", 1))
    bad = call("libsvm", "read", tmp_path / "f.el", "-o", "a.tif")
    assert "labels from -3 to" in bad.sentence


def test_damaged_positions_make_no_map(predicted, call, tmp_path):
    path = tmp_path / "f.positions.json"
    about = json.loads(path.read_text())
    about["grid"]["crs"] = "nowhere"
    path.write_text(json.dumps(about))
    mapped = ["libsvm", "map", predicted, "--positions", path, "-o", tmp_path / "map.tif"]
    assert "'nowhere' is not WKT" in call(*mapped).sentence
    assert not (tmp_path / "map.tif").exists()


def test_a_model_that_is_no_svm_or_knows_no_class_codes_is_refused(
    fields, write, call, kept, tmp_path
):
    from hypercover.classifiers.sklearn_wrapper import sklearn_classifier

    other = sklearn_classifier("sklearn.neighbors.KNeighborsClassifier", {}, random_state=0)
    rows, cols = np.nonzero(fields.codes)
    other.fit(fields.cube[:, rows, cols].T.astype(float), fields.codes[rows, cols])
    save_bundle(tmp_path / "other", other, load_bundle(kept()).card)
    for words in (
        ["export", tmp_path / "other", "-o", tmp_path / "o.model"],
        ["write", fields.image, "-o", tmp_path / "o.el", "--model", tmp_path / "other"],
    ):
        assert "give the folder of an SVM" in call("libsvm", *words).sentence
    call("libsvm", "export", kept(), "-o", tmp_path / "f.model")
    text = (tmp_path / "f.model").read_text().replace("label 1 2 3", "label -1 1 2")
    (tmp_path / "f.model").write_text(text)
    into = ["libsvm", "import", tmp_path / "f.model", "--scene", fields.image, "-o"]
    assert "has the labels -1, 1, 2" in call(*into, tmp_path / "b").sentence
    assert not (tmp_path / "b").exists()


@needs_libsvm
def test_salinas_a_goes_to_libsvm_and_comes_back_as_a_map(data_folder, call, tmp_path):
    """A measured scene whose class codes, 1 and 10 to 14, leave a gap."""
    folder = data_folder / "salinas_a"
    image, labels = folder / "SalinasA_corrected.mat", folder / "SalinasA_gt.mat"
    scene = open_scene(image, labels)
    split = ["--train", 0.05, "--seed", 1]
    assert (
        call("libsvm", "write", image, "-l", labels, "-o", tmp_path / "s.el", *split).code
        == 0
    )
    codes, values = read_libsvm(tmp_path / "s-training.el", 204, dense=True, dtype=np.int16)
    at = read_positions(tmp_path / "s-training.positions.json")
    np.testing.assert_array_equal(values, scene.cube.values[:, at.rows, at.cols].T)
    card = {
        "bands": scene.bands.tolist(),
        "wavelengths": None,
        "fwhm": None,
        "window": 1,
        "legend": scene.legend.to_json(),
    }
    save_bundle(tmp_path / "svm", SVMClassifier(C=100).fit(values, codes), card)
    write = ["libsvm", "write", image, "--all", "-o", tmp_path / "all.el"]
    assert call(*write, "--model", tmp_path / "svm").code == 0
    assert call("libsvm", "export", tmp_path / "svm", "-o", tmp_path / "s.model").code == 0
    libsvm(
        "svm-predict", "-q", tmp_path / "all.el", tmp_path / "s.model", tmp_path / "said"
    )
    places = tmp_path / "all.positions.json"
    mapped = ["libsvm", "map", tmp_path / "said", "--positions", places, "-o"]
    assert call(*mapped, tmp_path / "theirs.tif").code == 0
    assert call("predict", tmp_path / "svm", image, "-o", tmp_path / "ours.tif").code == 0
    theirs, ours = (
        open_scene(image, tmp_path / f"{name}.tif") for name in ("theirs", "ours")
    )
    np.testing.assert_array_equal(theirs.labels, ours.labels)
    assert theirs.legend.names == ours.legend.names
    marked = scene.labels > 0
    assert np.mean(theirs.labels[marked] == scene.labels[marked]) > 0.95


NAMES = [
    f"indian_{kind}_{part}.el"
    for kind in ("raw", "processed")
    for part in ("training", "test")
]

CHAIN = "pca:2,esdap:area"


@dataclass
class Written:
    folder: Path
    answer: object

    def arrays(self, kind, part, features):
        path = self.folder / f"indian_{kind}_{part}.el"
        labels, values = read_libsvm(path, features, dense=True, dtype=np.float64)
        return labels, values, read_positions(positions_path(path))


@pytest.fixture
def sets(fields, call, tmp_path):
    """Write the sets of the scene of fields."""

    def write(*options):
        answer = call(
            "libsvm",
            "sets",
            fields.image,
            "--labels",
            fields.labels,
            "-o",
            tmp_path / "sets",
            "--chain",
            CHAIN,
            "--nwfe",
            3,
            "--window",
            5,
            *options,
        )
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
    split = build_split(
        spec.split, open_scene(fields.image, fields.labels), seed=0, window=9
    )
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
    positions_path(path).unlink()
    answer = call("libsvm", "info", path)
    assert answer.code == 0
    assert f"{len(labels)}" in answer.out


def test_parts_of_the_scene_and_of_the_sets(fields, sets):
    made = sets("--window", 0, "--crop", "0:20,:", "--nwfe", 0, "--min-pixels", 5)
    assert made.answer.code == 0
    assert not (made.folder / "indian_windows.h5").exists()
    places = read_positions(positions_path(made.folder / NAMES[3]))
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
