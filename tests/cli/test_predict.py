"""``hypercover predict``: sizes, layers and what is refused."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from hypercover.classifiers.bundle import save_bundle
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.cnn.inference import peak_memory
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import CallError, OutputError
from hypercover.files import check_writable, read_checksummed
from hypercover.gis.cleaning import Cleaning
from hypercover.memory import parse_size
from hypercover.scene.io.reading import open_scene
from hypercover.scene.simulation.simulate import simulate
from hypercover.windows.windows import Windows

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "GiB": 2**30}


@given(number=st.integers(1, 10**6), unit=st.sampled_from(sorted(UNITS)))
def test_sizes_are_read_as_they_are_written(number, unit):
    assert parse_size(f"{number}{unit}") == number * UNITS[unit]
    assert parse_size(f" {number} {unit.lower()}") == number * UNITS[unit]


@pytest.mark.parametrize(
    "text", ["", "2", "2G", "GiB", "-1GB", "0MB", "1e3MB", "2 GiB!", "nanGB", "2GiB 3MB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(CallError, match="write it like 500MB or 2GiB"):
        parse_size(text)


def test_a_map_and_its_confidence_are_written(call, fields, trained, tmp_path):
    out, sure = tmp_path / "map.tif", tmp_path / "sure.tif"
    done = call(
        "predict",
        trained,
        fields.image,
        "-o",
        out,
        "--confidence",
        sure,
        "--memory",
        "4GiB",
    )
    assert (done.code, done.out) == (0, f"Map: {out}\nConfidence: {sure}\n")
    with rasterio.open(out) as raster:
        assert set(np.unique(raster.read(1))) <= {1, 2, 3}


def test_bands_that_are_taken_by_number_alone_are_told(
    call, fields, trained, tmp_path, caplog
):
    """A cube of another sensor has band numbers too."""
    bare = tmp_path / "bare.npy"
    np.save(bare, fields.cube)
    words = ("-o", tmp_path / "map.tif", "--axes", "band,row,col")
    assert call("predict", trained, bare, *words).code == 0
    assert "bare has no wavelengths; its bands were matched" in caplog.text
    caplog.clear()
    assert call("predict", trained, fields.image, *words[:2]).code == 0
    assert not caplog.text


def test_a_model_that_knows_no_wavelengths_says_how_bands_were_found(
    call, fields, trained, tmp_path, caplog
):
    """Bands in another order than those of the model would give a wrong map."""
    blind = tmp_path / "blind"
    shutil.copytree(trained, blind)
    document = read_checksummed((blind / "model.json").read_bytes())
    document["card"] |= {"wavelengths": None, "fwhm": None}
    (blind / "model.json").write_text(json.dumps(document))
    assert call("predict", blind, fields.image, "-o", tmp_path / "map.tif").code == 0
    assert "bands of cube were matched by number and must be the same" in caplog.text


WATCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
"""Prints the greatest memory of a command: a small process, because what starts another
lends it its own figure."""
SIDE, BUDGET = 500, 800 * 2**20


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """An image that no network may take whole within the budget."""
    image = tmp_path_factory.mktemp("wide") / "wide.tif"
    simulate(image, rows=SIDE, cols=SIDE, bands=24, classes=4, seed=1)
    return image


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize("network", ["default", "lecture"])
def test_a_map_is_predicted_within_the_memory(wide, tmp_path, network):
    scene = open_scene(wide, labels=False)
    chance = np.random.default_rng(0)
    rows, cols = chance.integers(0, SIDE, (2, 16))
    windows = Windows(scene.read(slice(None), slice(None)), rows, cols, 9)
    model = CNNClassifier(network, epochs=1, random_state=0)
    model.fit(windows, np.arange(16) % 4 + 1)
    bands = model.scaling_.outputs
    whole = peak_memory(
        model.network_, lambda net, tile: net.score_tile(tile), 1, bands, SIDE, SIDE
    )
    assert whole > BUDGET
    legend = [{"code": n, "name": f"c{n}", "color": "#112233"} for n in range(1, 5)]
    card = {"bands": scene.bands.tolist(), "wavelengths": None, "legend": legend}
    save_bundle(tmp_path / "model", model, card)
    command = [sys.executable, "-c", "from hypercover.cli.main import main; main()"]
    maps = ["--out", "map.tif", "--probabilities", "shares.tif"]
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            WATCHER,
            *command,
            "predict",
            "model",
            wide,
            *maps,
            "--memory",
            f"{BUDGET}B",
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert int(told.stdout) < BUDGET
    with rasterio.open(tmp_path / "map.tif") as raster:
        assert raster.read(1).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--memory", "much"], "A size of memory is a number above 0 and a unit"),
        (["--memory", "1MB"], "allow more"),
        (["--entropy", "e.tif"], "A map of entropy needs calibrated"),
        (["--probabilities", "p.tif"], "A map of probabilities needs calibrated"),
        (["--probabilities", "map.tiff"], "give each a name of its own"),
        (["--entropy", "e.png"], "give it the suffix .tif"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(
    call, fields, trained, tmp_path, monkeypatch, options, said
):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    told = call("predict", trained, fields.image, "-o", "map.tif", *options)
    assert said in told.sentence
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("options", [["-o", "m.tif", "--entropy"], ["-o"]])
@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("file/e.tif", "Cannot write file/e.tif: a part of the path is a file;"),
        ("folder.tif", "Cannot write folder.tif: a folder of that name is in the way;"),
        ("styled.tif", "Cannot write styled.qml: a folder of that name is in the way;"),
        ("named.tif", "Cannot write named.tif.aux.xml: a folder of that name is in the"),
    ],
)
def test_a_map_with_nowhere_to_go_is_refused_before_the_first_tile(
    call, fields, trained, tmp_path, monkeypatch, out, said, options
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for name in ("folder.tif", "styled.qml", "named.tif.aux.xml"):
        (tmp_path / name).mkdir()
    before = set(tmp_path.rglob("*"))
    monkeypatch.setattr(
        "hypercover.prediction.scene_prediction.TilePredictor.predict_tile", None
    )
    told = call("predict", trained, fields.image, *options, out)
    assert (told.code, said in told.sentence) == (2, True)
    assert set(tmp_path.rglob("*")) == before


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="permission is denied; choose a folder you may"):
        check_writable(tmp_path / "new/map.tif")
    monkeypatch.undo()
    check_writable(tmp_path / "new/map.tif")
    assert not list(tmp_path.iterdir())


def trained_on_a_gpu(fields):
    rows, cols = np.nonzero(fields.codes)
    model = CNNClassifier(epochs=1, random_state=0)
    model.fit(Windows(fields.cube, rows, cols, 5), fields.codes[rows, cols])
    card = {
        "bands": [1, 2, 3, 4, 5, 6],
        "wavelengths": np.linspace(450.0, 2300.0, 6).tolist(),
        "fwhm": None,
        "legend": fields.legend.to_json(),
        "window": 5,
    }
    folder = fields.folder / "model"
    save_bundle(folder, model, card)
    # as versions before kept it
    document = read_checksummed((folder / "model.json").read_bytes())
    document["settings"]["parameters"]["device"] = "cuda"
    (folder / "model.json").write_text(json.dumps(document))
    return folder


def test_a_model_of_a_gpu_predicts_and_is_exported_without_one(
    call, fields, tmp_path, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    model, out = trained_on_a_gpu(fields), tmp_path / "map.tif"
    assert call("predict", model, fields.image, "-o", out).code == 0
    assert call("export", model, "-o", tmp_path / "cnn.onnx").code == 0
    out.unlink()
    told = call("predict", model, fields.image, "-o", out, "--device", "cuda")
    assert "PyTorch finds no usable GPU here" in told.sentence
    assert not out.exists()
    assert call("predict", model, fields.image, "-o", out, "--device", "cpu").code == 0


def test_the_image_is_not_written_over_by_any_map(call, fields, trained, tmp_path):
    told = call(
        "predict",
        trained,
        fields.image,
        "-o",
        tmp_path / "m.tif",
        "--entropy",
        fields.image,
    )
    assert "would destroy" in told.sentence


@pytest.fixture
def speckled(fields):
    """A model that learnt chance, so that its map is all specks."""
    chance = np.random.default_rng(0)
    spectra = fields.cube.reshape(6, -1).T[chance.choice(1920, 300, replace=False)]
    model = SVMClassifier(C=1e4, gamma=5.0).fit(spectra, chance.integers(1, 4, 300))
    card = {
        "bands": [1, 2, 3, 4, 5, 6],
        "wavelengths": np.linspace(450.0, 2300.0, 6).tolist(),
        "fwhm": None,
        "legend": fields.legend.to_json(),
        "window": 1,
    }
    save_bundle(fields.folder / "speckled", model, card)
    return fields.folder / "speckled"


def test_the_class_map_is_cleaned_and_cut_and_nothing_lies_beside(
    call, fields, speckled, tmp_path
):
    plain, out = tmp_path / "plain/map.tif", tmp_path / "out/map.tif"
    assert call("predict", speckled, fields.image, "-o", plain).code == 0
    words = ("--majority", 3, "--sieve", 5, "--within", fields.labels)
    done = call("predict", speckled, fields.image, "-o", out, *words)
    assert (done.code, done.out) == (0, f"Map: {out}\n"), done.err
    with rasterio.open(plain) as one, rasterio.open(out) as other:
        predicted, cleaned = one.read(1), other.read(1)
    inside = np.where(fields.codes > 0, predicted, 0).astype(np.uint8)
    expected = Cleaning(majority=3, sieve=5).apply(inside)
    assert (cleaned == expected).all()
    assert (cleaned != inside).any()
    names = {file.name for file in out.parent.iterdir()}
    assert names == {"map.tif", "map.tif.aux.xml", "map.qml"}
    refused = call("predict", speckled, fields.image, "-o", out, "--majority", 2)
    assert "must be an odd number of pixels" in refused.sentence
