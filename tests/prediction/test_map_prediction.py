"""Saved models applied to other images."""

import filecmp
import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from hypercover.classifiers.bundle import save_bundle
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import CallError, ModelError
from hypercover.files import read_checksummed
from hypercover.jobs.executor import InProcessExecutor
from hypercover.prediction.map_prediction import predict_bundle, predict_bundle_to_files
from hypercover.prediction.model_input import describe_training_image
from hypercover.prediction.tile_tasks import SceneSource
from hypercover.scene.class_map import open_class_map
from hypercover.scene.encoding import ScaleOffset
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import format_list
from hypercover.scene.scene import Scene
from hypercover.scene.tile_store import TileStore

CLASSES = [
    {"code": 1, "name": "A", "color": "#000000"},
    {"code": 2, "name": "B", "color": "#ffffff"},
]


@pytest.fixture
def scene():
    values = np.random.default_rng(0).random((3, 5, 4)) + np.arange(5)[:, None]
    return Scene(xr.DataArray(values, dims=("band", "y", "x")))


@pytest.fixture
def model(tmp_path, scene):
    spectra = scene.cube.values.reshape(3, -1).T
    svm = SVMClassifier().fit(spectra, np.repeat([1, 2], 10))
    save_bundle(tmp_path / "svm", svm, {"bands": [1, 2, 3], "legend": CLASSES})
    return tmp_path / "svm"


def test_a_model_maps_an_image(tmp_path, scene, model):
    predict_bundle_to_files(model, scene, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    "legend",
    [
        None,
        3,
        "A",
        [1, 2],
        [{"code": "x", "name": "A", "color": "#000000"}],
        [{"code": 1}],
        [{"code": 1, "name": "A", "color": "url(x)"}],
        [*CLASSES, *CLASSES],
    ],
)
def test_classes_that_make_no_sense_are_refused(tmp_path, scene, model, legend):
    document = read_checksummed((model / "model.json").read_bytes())
    document["card"]["legend"] = legend
    if legend is None:
        del document["card"]["legend"]
    (model / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match="which classes it knows"):
        predict_bundle_to_files(model, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_a_map_is_named_as_what_it_is(tmp_path, scene, model):
    with pytest.raises(CallError, match=r"give it the suffix \.tif"):
        predict_bundle_to_files(model, scene, tmp_path / "map.png")


def test_a_map_and_its_confidence_have_names_of_their_own(tmp_path, scene, model):
    path = tmp_path / "map.tif"
    with pytest.raises(CallError, match="give each a name of its own"):
        predict_bundle_to_files(model, scene, path, confidence=path)
    assert not path.exists()


def test_all_maps_have_names_of_their_own(tmp_path, scene, model):
    maps = {"probabilities": tmp_path / "map.tiff", "entropy": tmp_path / "e.tif"}
    with pytest.raises(CallError, match=r"map\.tif; give each a name of its own"):
        predict_bundle_to_files(model, scene, tmp_path / "map.tif", **maps)
    assert not (tmp_path / "e.tif").exists()


def test_too_little_memory_for_the_program_is_told(tmp_path, scene, model):
    with pytest.raises(
        CallError, match=r"program alone takes .* MiB, and the limit is 48 MiB"
    ):
        predict_bundle_to_files(model, scene, tmp_path / "map.tif", memory=50_000_000)


def test_a_scene_without_a_file_keeps_no_tiles(tmp_path, scene, model):
    predict_bundle_to_files(model, scene, tmp_path / "map.tif")
    assert not list(tmp_path.glob(".*"))


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A long image of six tiles in a file, and a small network for it."""
    folder = tmp_path_factory.mktemp("line")
    random = np.random.default_rng(0)
    values = random.integers(1, 900, size=(8, 200, 1536)).astype(np.int16)
    image = write_scene(
        Scene(xr.DataArray(values, dims=("band", "y", "x"))), folder / "line.tif"
    )
    windows = random.normal(400, 200, size=(16, 8, 9, 9))
    cnn = CNNClassifier(epochs=1, random_state=0).fit(windows, np.arange(16) % 2 + 1)
    card = {"bands": list(range(1, 9)), "wavelengths": None, "legend": CLASSES}
    save_bundle(folder / "cnn", cnn, card)
    whole = folder / "whole.tif"
    line = SimpleNamespace(folder=folder, image=image, model=folder / "cnn", whole=whole)
    # by a process like the others: this one may have other threads and less memory left
    subprocess.run(command(line, whole), capture_output=True, check=True, timeout=300)
    return line


def command(line, out):
    program = "import sys; from hypercover.cli.main import main; main()"
    words = [line.model, line.image, "--out", out, "--entropy", out.with_name("e.tif")]
    return [sys.executable, "-c", program, "predict", *map(str, words)]


@pytest.mark.parametrize(
    "ended", ["SIGKILL", pytest.param("SIGINT", marks=pytest.mark.slow)]
)
def test_a_prediction_that_is_killed_goes_on(line, tmp_path, ended):
    out, kept = tmp_path / "map.tif", tmp_path / ".map.tif.tiles"
    process = subprocess.Popen(
        command(line, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    give_up = time.monotonic() + 300
    while not list(kept.glob("[0-9]*.tile")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, "no tile within five minutes"
        time.sleep(0.002)
    process.send_signal(getattr(signal, ended))
    process.communicate(timeout=300)
    assert process.returncode == {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}[ended]
    assert not list(tmp_path.glob("*.tif"))
    tiles = {tile.name for tile in kept.glob("[0-9]*.tile")}
    assert 0 < len(tiles) < 6
    again = subprocess.run(
        command(line, out), capture_output=True, text=True, check=True, timeout=300
    )
    assert f"Resuming: {len(tiles)} of 6 tiles already done." in again.stderr
    assert filecmp.cmp(out, line.whole, shallow=False)
    assert filecmp.cmp(tmp_path / "e.tif", line.folder / "e.tif", shallow=False)
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def stopping(monkeypatch):
    """Press Ctrl-C once a number of tiles are kept."""
    save = TileStore.save

    def after(tiles):
        def count(store, number, answers):
            if len(list(store.folder.glob("[0-9]*.tile"))) == tiles:
                raise KeyboardInterrupt
            save(store, number, answers)

        monkeypatch.setattr(TileStore, "save", count)
        return lambda: monkeypatch.setattr(TileStore, "save", save)

    return after


@pytest.mark.parametrize("executor", [None, InProcessExecutor])
@pytest.mark.parametrize("same", [True, False])
def test_a_touched_image_goes_on_and_another_of_its_name_starts_anew(
    line, tmp_path, stopping, same, executor
):
    image, out = tmp_path / "line.tif", tmp_path / "map.tif"
    content = bytearray(line.image.read_bytes())
    image.write_bytes(content)
    source = SceneSource(str(image))

    def predict():
        by = None if executor is None else executor()
        given = {} if by is None else {"source": source, "executor": by}
        predict_bundle_to_files(line.model, source.open(), out, **given)

    release = stopping(2)
    with pytest.raises(KeyboardInterrupt):
        predict()
    release()
    tile = tmp_path / ".map.tif.tiles" / "0.tile"
    made = tile.stat().st_mtime_ns
    content[-1] ^= not same
    image.write_bytes(content)
    os.utime(image, (1, 1))
    release = stopping(5 if same else 0)
    with pytest.raises(KeyboardInterrupt):
        predict()
    assert (tile.exists() and tile.stat().st_mtime_ns == made) == same
    release()
    predict()
    assert not list(tmp_path.glob(".*"))


LAND = np.repeat(np.random.default_rng(3).integers(1, 4, (6, 6)), 8, axis=0).repeat(
    8, axis=1
)
"""Three classes in squares of 8 × 8 pixels (y, x)."""
SPECTRA = np.array(
    [[0.05, 0.04, 0.03, 0.02], [0.08, 0.12, 0.35, 0.30], [0.2, 0.3, 0.4, 0.5]]
)
"""Reflectance of each class (class, band)."""


def image(folder, name, meaning, *, dtype="int16", stated=True, haze=0.0):
    """Write the land in numbers of some meaning, and open it."""
    noise = np.random.default_rng(5).normal(0, 0.004, (4, *LAND.shape))
    reflectance = SPECTRA[LAND - 1].transpose(2, 0, 1) + haze + noise
    numbers = (reflectance - np.reshape(meaning.offset, (4, 1, 1))) / np.reshape(
        meaning.scale, (4, 1, 1)
    )
    numbers = np.rint(numbers).astype(dtype) if dtype != "float32" else numbers
    cube = xr.DataArray(numbers.astype(dtype), dims=("band", "y", "x"))
    if stated:
        cube.attrs["header"] = {
            "data gain values": format_list(meaning.scale),
            "data offset values": format_list(meaning.offset),
        }
    return open_scene(write_scene(Scene(cube), folder / name), labels=False)


def of_land(scene, folder, chain=None):
    """Train a model on half of the land and keep it as a run does."""
    left = np.where(np.arange(48) < 24, LAND, 0).astype(np.uint8)
    scene = scene.with_labels(
        left,
        Legend.from_json(
            [{"code": code, "name": f"C{code}", "color": "#000000"} for code in (1, 2, 3)]
        ),
    )
    rows, cols = np.nonzero(left)
    svm = SVMClassifier().fit(scene.cube.values[:, rows, cols].T, left[rows, cols])
    card = {**describe_training_image(scene), "legend": scene.legend.to_json(), "window": 1}
    save_bundle(folder, svm, card)
    return folder


WHOLE = ScaleOffset((1e-4,) * 4, (0.0,) * 4)
SHARES = ScaleOffset((1.0,) * 4, (0.0,) * 4)
BOA = ScaleOffset((1e-4,) * 4, (-0.1,) * 4)
UNLIKE = ScaleOffset((1e-4, 2e-4, 5e-5, 1e-3), (0.0, -0.1, 0.05, -0.2))
MEANINGS = {"whole": WHOLE, "shares": SHARES, "boa": BOA, "unlike": UNLIKE}


@pytest.mark.parametrize(
    ("own", "other"), list(permutations(MEANINGS, 2)), ids=lambda name: name
)
def test_an_image_of_another_scale_is_brought_to_the_models(tmp_path, caplog, own, other):
    def written(name):
        dtype = "float32" if name == "shares" else "int16"
        # GDAL cannot tell a scale of 1 that is stated from none: ENVI's key can.
        made = image(tmp_path, f"{name}.img", MEANINGS[name], dtype=dtype)
        if name != "shares":
            return made
        header = tmp_path / "shares.hdr"
        header.write_text(header.read_text() + "\nreflectance scale factor = 1\n")
        return open_scene(header, labels=False)

    model = of_land(written(own), tmp_path / "model")
    predict_bundle_to_files(model, written(own), tmp_path / "own.tif")
    assert not caplog.records
    predict_bundle_to_files(model, written(other), tmp_path / "other.tif", memory=None)
    assert [
        record.message for record in caplog.records if "are converted" in record.message
    ]
    ours, theirs = (
        open_class_map(tmp_path / f"{name}.tif").codes for name in ("own", "other")
    )
    assert (theirs == LAND).mean() > 0.999
    assert (theirs == ours).mean() > 0.999
    found = predict_bundle(model, written(other))
    assert np.array_equal(found.labels, theirs)


def test_workers_convert_tiles_too(tmp_path):
    """Other processes open the image by its path, and must mean the same by its numbers."""
    model = of_land(image(tmp_path, "own.tif", WHOLE), tmp_path / "model")
    other = image(tmp_path, "other.tif", BOA)
    source = SceneSource(str(tmp_path / "other.tif"))
    predict_bundle_to_files(
        model, other, tmp_path / "map.tif", source=source, executor=InProcessExecutor()
    )
    assert (open_class_map(tmp_path / "map.tif").codes == LAND).mean() > 0.999


def test_values_that_cannot_mean_the_same_are_refused(tmp_path):
    model = of_land(image(tmp_path, "own.tif", WHOLE), tmp_path / "model")
    shares = image(tmp_path, "shares.tif", SHARES, dtype="float32", stated=False)
    with pytest.raises(
        ModelError,
        match=r"from [\d.]+ to [\d.]+ in band 1 and shares holds 0.*"
        "they do not mean the same; state its scale factor",
    ):
        predict_bundle_to_files(model, shares, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
    bare = of_land(shares, tmp_path / "bare")
    with pytest.raises(ModelError, match="or train again on images that state"):
        predict_bundle_to_files(
            bare, image(tmp_path, "again.tif", WHOLE), tmp_path / "map.tif"
        )
    # A scale stated in the image would not help: the model knows none to bring it to.
    with pytest.raises(ModelError, match="do not mean the same; give an image with values"):
        predict_bundle(bare, image(tmp_path, "bare.tif", WHOLE, stated=False))


def test_where_one_states_its_scale_alone_that_is_said(tmp_path, caplog):
    model = of_land(image(tmp_path, "own.tif", WHOLE), tmp_path / "model")
    bare = image(tmp_path, "bare.tif", WHOLE, stated=False)
    predict_bundle_to_files(model, bare, tmp_path / "map.tif")
    assert "states scale 0.0001 and offset 0, and bare states none" in caplog.text
    caplog.clear()
    predict_bundle_to_files(
        of_land(bare, tmp_path / "no"), image(tmp_path, "i.tif", BOA), tmp_path / "m.tif"
    )
    assert "i states scale 0.0001 and offset -0.1, and the model was trained" in caplog.text


def test_ranges_that_hardly_overlap_are_told(tmp_path, caplog):
    model = of_land(image(tmp_path, "own.tif", WHOLE), tmp_path / "model")
    predict_bundle_to_files(
        model, image(tmp_path, "light.tif", WHOLE, haze=0.6), tmp_path / "map.tif"
    )
    assert re.search(
        r"light holds [\d.]+ to .* they hardly overlap in \d of 4", caplog.text
    )


def test_wavelengths_that_are_not_known_are_kept_as_such(tmp_path):
    scene = image(tmp_path, "own.tif", WHOLE)
    cube = scene.cube.assign_coords(wavelength=("band", [490.0, np.nan, 665.0, 842.0]))
    model = of_land(scene.replace(cube=cube), tmp_path / "model")
    card = json.loads((model / "model.json").read_text())["card"]
    assert card["wavelengths"] == [490.0, None, 665.0, 842.0]
    predict_bundle_to_files(model, scene.replace(cube=cube), tmp_path / "map.tif")
