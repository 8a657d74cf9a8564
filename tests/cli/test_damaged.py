"""Damaged input and impossible wishes: one clear sentence, exit code 2, nothing written."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
import yaml

from hypercover.files import read_checksummed
from hypercover.scene.grid import Grid
from hypercover.scene.io.writing import write_labels

pytestmark = pytest.mark.usefixtures("sketched")


def relabel(fields: SimpleNamespace, codes: np.ndarray, grid: Grid | None = None) -> None:
    write_labels(codes, fields.legend, grid or fields.grid, fields.labels)


def spoil(fields: SimpleNamespace, **values: object) -> None:
    """Change values of the experiment, given as ``outer_inner=value``."""
    document = yaml.safe_load(fields.experiment.read_text())
    for key, value in values.items():
        outer, _, inner = key.partition("_")
        if inner:
            document[outer][inner] = value
        else:
            document[outer] = value
    fields.experiment.write_text(yaml.safe_dump(document))


def image(fields: SimpleNamespace, name: str) -> None:
    spoil(fields, scene_path=name)


def mat_cut(fields):
    scipy.io.savemat(fields.folder / "cube.mat", {"cube": fields.cube.transpose(1, 2, 0)})
    path = fields.folder / "cube.mat"
    path.write_bytes(path.read_bytes()[:5000])
    image(fields, "cube.mat")


def mat_73_cut(fields):
    path = fields.folder / "cube.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cube"] = fields.cube
    whole = path.read_bytes()[512:]
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512, b"\0") + whole[: len(whole) // 2])
    image(fields, "cube.mat")


def tif_cut(fields):
    fields.image.write_bytes(fields.image.read_bytes()[:-4000])


def header_alone(fields):
    (fields.folder / "cube.hdr").write_text(
        "ENVI\nsamples = 48\nlines = 40\nbands = 6\ndata type = 2\ninterleave = bsq\n"
    )
    image(fields, "cube.hdr")


def envi_cut(fields):
    header_alone(fields)
    (fields.folder / "cube.img").write_bytes(fields.cube.tobytes()[:-1000])


def labels_too_small(fields):
    relabel(fields, fields.codes[:-1], Grid(39, 48, fields.grid.crs, fields.grid.transform))


def labels_elsewhere(fields):
    moved = (*fields.grid.transform[:2], 500_000.0, *fields.grid.transform[3:])
    relabel(fields, fields.codes, Grid(40, 48, fields.grid.crs, moved))


def no_label(fields):
    np.save(fields.folder / "labels.npy", np.zeros_like(fields.codes))
    spoil(fields, scene_labels="labels.npy")


def one_class(fields):
    relabel(fields, np.minimum(fields.codes, 1))


def labels_off_the_data(fields):
    cube = np.where(fields.codes > 0, np.nan, fields.cube)
    np.save(fields.folder / "cube.npy", cube)
    spoil(fields, scene_path="cube.npy", scene_axes="band,row,col")


def nan_everywhere(fields):
    np.save(fields.folder / "cube.npy", np.full(fields.cube.shape, np.nan, np.float32))
    spoil(fields, scene_path="cube.npy", scene_axes="band,row,col")


def a_network(fields, **settings):
    spoil(fields, models={"cnn": {"kind": "cnn"} | settings})


def estimator(fields, path, **parameters):
    model = {"kind": "sklearn", "estimator": path, "parameters": parameters}
    spoil(fields, models={"m": model})


DAMAGED = {
    "mat cut short": (mat_cut, r"cube\.mat .*cut short|cube\.mat .*damaged"),
    "mat 7.3 cut short": (mat_73_cut, r"cube\.mat .*(cut short|damaged)"),
    "tif cut short": (tif_cut, r"cube\.tif is truncated: .* bytes"),
    "header without data": (header_alone, r"header .*cube\.hdr has no data file"),
    "envi cut short": (envi_cut, r"cube\.(img|hdr) .*(cut short|bytes)"),
    "labels of another size": (labels_too_small, r"39 .*48"),
    "labels elsewhere": (labels_elsewhere, "labels"),
    "no labelled pixel": (no_label, "[Nn]o labelled pixel|[Nn]o pixel is labelled"),
    "one class": (one_class, "At least two classes are needed, found only class 1"),
    "no label on data": (labels_off_the_data, "No labelled pixel of .* holds data"),
    "NaN everywhere": (nan_everywhere, "No pixel of cube holds data"),
    "window even": (
        lambda fields: a_network(fields, window=8),
        "window size must be odd and at least 1, got 8; use 7 or 9",
    ),
    "window too large": (
        lambda fields: a_network(fields, window=41),
        "window of 41 × 41 pixels is larger than the image of 40 × 48",
    ),
    "guard too wide": (
        lambda fields: spoil(fields, split_guard=90),
        "guard of 90 pixels .* leaves no test pixels .*the widest that leaves some is",
    ),
    "unknown network": (
        lambda fields: a_network(fields, network="resnet"),
        "No network named 'resnet'; use one of: .*default, .*lecture",
    ),
    "too few bands for the network": (
        lambda fields: a_network(fields, network="lecture"),
        "lecture network needs at least .* bands, got 6",
    ),
    "unknown estimator": (
        lambda fields: estimator(fields, "sklearn.ensemble.RandomForestClasifier"),
        r"the closest is sklearn\.ensemble\.RandomForestClassifier",
    ),
    "estimator from elsewhere": (
        lambda fields: estimator(fields, "os.system"),
        "'os.system' is not a classifier",
    ),
    "unknown parameter": (
        lambda fields: estimator(
            fields, "sklearn.ensemble.RandomForestClassifier", n_estimator=3
        ),
        "no parameter 'n_estimator'",
    ),
    "image is a folder": (
        lambda fields: image(fields, "."),
        "is a folder, not an image; give a file in it",
    ),
    "image is missing": (
        lambda fields: image(fields, "gone.tif"),
        r"scene\.path: no file .*gone\.tif; correct the paths",
    ),
    "image is text": (
        lambda fields: image(fields, "fields.yaml"),
        "is a text file, not an image",
    ),
    "mask is missing": (
        lambda fields: spoil(fields, split={"kind": "masks", "train": "gone.tif"}),
        r"split\.train: no file",
    ),
    "mask of another size": (
        lambda fields: (
            np.save(fields.folder / "train.npy", np.ones((4, 4), np.uint8)),
            spoil(fields, split={"kind": "masks", "train": "train.npy"}),
        ),
        "4 .*4",
    ),
    "unknown key": (
        lambda fields: spoil(fields, split_gard=3),
        r"split\.gard is an unknown key \(did you mean guard\?\)",
    ),
    "wrong type": (
        lambda fields: spoil(fields, seed="x"),
        "seed should be a valid integer",
    ),
    "not YAML": (
        lambda fields: fields.experiment.write_text("a: [1"),
        "not valid YAML at line",
    ),
    "not text": (
        lambda fields: fields.experiment.write_bytes(b"\xff\xfe\x00"),
        "is not text",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_run_refuses_what_it_cannot_use(fields, call, snapshot, tmp_path, name):
    """And says so before a folder is made, or anything in an older run is touched."""
    out = tmp_path / "run"
    damage, words = DAMAGED[name]
    damage(fields)
    answer = call("run", fields.experiment, "-o", out)
    assert re.search(words, answer.sentence), answer.sentence
    assert not out.exists()
    assert not [path for path in fields.folder.iterdir() if ".part" in path.name]


@pytest.mark.parametrize("name", ["tif cut short", "guard too wide", "unknown network"])
def test_an_older_run_stays_whole(fields, call, snapshot, tmp_path, name):
    out = tmp_path / "run"
    assert call("run", fields.experiment, "-o", out).code == 0
    before = snapshot(out)
    DAMAGED[name][0](fields)
    spoil(fields, seed=5)
    assert call("run", fields.experiment, "-o", out).sentence
    assert snapshot(out) == before


def test_a_gpu_that_is_not_there(fields, call, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    a_network(fields)
    answer = call("run", fields.experiment, "-o", tmp_path / "run", "--device", "cuda")
    assert "is cuda, but PyTorch finds no usable GPU" in answer.sentence
    assert not (tmp_path / "run").exists()


def test_a_class_of_one_pixel_is_named_and_mapped_all_the_same(fields, call, tmp_path):
    """It cannot be both trained and tested, so it has no accuracy."""
    codes = fields.codes.copy()
    codes[0, 0] = 9
    relabel(fields, codes)
    answer = call("run", fields.experiment, "-o", tmp_path / "run", "--set", "map=true")
    assert answer.code == 0, answer.err
    assert "Class 9 (only one labelled pixel)" in answer.out
    told = json.loads((tmp_path / "run" / "metrics.json").read_text())["map"]
    assert (told["per_class"]["9"], told["missing"]) == (1, [])


def test_a_class_that_cannot_be_scored_is_named_in_every_output(fields, call, tmp_path):
    """Two neighbours always lie within each other's guard."""
    codes = fields.codes.copy()
    codes[0, :2] = 9
    relabel(fields, codes)
    out = tmp_path / "run"
    answer = call("run", fields.experiment, "-o", out)
    assert answer.code == 0, answer.err
    missing = json.loads((out / "metrics.json").read_text())["split"]["unscored"]
    assert [row["code"] for row in missing] == [9]
    told = f"{missing[0]['name']} ({missing[0]['reason']})"
    assert f"Not scored under blocks: {told}" in answer.out
    assert missing[0]["reason"] in (out / "report.html").read_text()


SETS = {
    "foo": "--set 'foo' is not understood; write it as KEY=VALUE",
    "=1": "--set '=1' is not understood",
    "split..guard=1": "is not understood",
    "seed=[1": "has no YAML value",
    "name.inner=1": "goes into a value, not a mapping",
    "foo=1": "foo is an unknown key",
    "repeats=many": "repeats should be a valid integer",
    "device=tpu": "device should be 'auto', 'cpu' or 'cuda', got 'tpu'",
    "split.kind=blobs": "split.kind must be one of 'random', 'masks', 'blocks'",
    "map=best": "is not valid: map: best chooses by validation pixels; set split.validation to a",
    "models={}": "models",
}


@pytest.mark.parametrize("wish", SETS)
def test_values_set_at_the_prompt_are_checked(fields, call, tmp_path, wish):
    answer = call("run", fields.experiment, "-o", tmp_path / "run", "--set", wish)
    assert SETS[wish] in answer.sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "{experiment}", "--dask", "tcp://127.0.0.1:9"], "No Dask scheduler"),
        (["run", "{experiment}", "--executor", "ray"], "There is no executor 'ray'"),
        (["run", "gone.yaml"], "No experiment file gone.yaml was found"),
        (["report", "gone"], "No metrics.json in"),
        (["info", "gone.tif"], "There is no file gone.tif"),
        (["predict", "gone", "{image}", "-o", "map.tif"], "No readable model in gone"),
        (["predict", "gone", "gone.tif", "-o", "map.tif"], "There is no file gone.tif"),
        (["predict", "gone", "{image}", "-o", "map.jpg"], "give it the suffix .tif"),
        (["simulate", "a.jpg"], "written as GeoTIFF"),
        (["simulate", "a.tif", "--rows", "3"], "at least 32 rows"),
        (["simulate", "a.tif", "--preset", "moon"], "No simulation preset is named 'moon'"),
        (["simulate", "a.tif", "--preset", "demo", "--rows", "99"], "--rows was given too"),
        (["classify", "gone.tif"], "scene.path: no file"),
        (["classify", "{image}"], "has no labels; give a label file"),
        (["classify", "{image}", "-l", "gone.tif"], "scene.labels: no file"),
        (
            ["classify", "{image}", "-l", "{labels}", "--model", "x"],
            "must be svm, cnn, forest or lda",
        ),
        (["info", "{image}", "--drop-bands", "90"], "band"),
        (["info", "{image}", "--axes", "row,col,band"], "--axes is for files of named"),
    ],
)
def test_every_command_refuses_in_one_sentence(
    fields, call, tmp_path, monkeypatch, words, said
):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    known = {
        "image": fields.image,
        "labels": fields.labels,
        "experiment": fields.experiment,
    }
    monkeypatch.setattr("hypercover.jobs.dask_executor._CONNECT", 0.5)
    answer = call(*(word.format(**known) for word in words))
    assert said in answer.sentence
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [[], ["nope"], ["run"], ["classify"], ["predict", "a"], ["run", "a", "--workers", "0"]],
)
def test_a_call_that_says_too_little_shows_the_usage(call, words):
    answer = call(*words)
    assert answer.code == 2
    assert "Usage: hypercover" in answer.out + answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("place", ["/dev/null/run", "{file}", "{file}/run"])
def test_a_folder_that_cannot_be_made(fields, call, tmp_path, place):
    out = place.format(file=fields.image)
    answer = call("run", fields.experiment, "-o", out)
    assert answer.sentence.startswith(f"Cannot write {out}")
    assert "choose another" in answer.sentence


BUNDLE = {
    "no card": lambda folder: (folder / "model.json").unlink(),
    "no weights": lambda folder: (folder / "weights.safetensors").unlink(),
    "card cut": lambda folder: cut(folder / "model.json"),
    "weights cut": lambda folder: cut(folder / "weights.safetensors"),
    "card flipped": lambda folder: flip(folder / "model.json"),
    "weights flipped": lambda folder: flip(folder / "weights.safetensors"),
    "card empty": lambda folder: (folder / "model.json").write_bytes(b""),
    "card of another kind": lambda folder: swap(folder / "model.json"),
}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def swap(path):
    path.write_text(json.dumps(read_checksummed(path.read_bytes()) | {"kind": "pickle"}))


@pytest.mark.parametrize("name", BUNDLE)
def test_a_damaged_model_is_refused(fields, call, tmp_path, trained, name):
    model = tmp_path / "model"
    shutil.copytree(trained, model)
    BUNDLE[name](model)
    target = tmp_path / "map.tif"
    answer = call("predict", model, fields.image, "-o", target)
    assert str(model) in answer.sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model"]


def test_two_runs_in_one_folder(fields, call, tmp_path):
    """The second is kept out before it changes anything."""
    import fcntl

    out = tmp_path / "run"
    assert call("run", fields.experiment, "-o", out).code == 0
    kept = (out / "experiment.yaml").read_bytes()
    with (out / "tasks" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = call("run", fields.experiment, "-o", out, "--set", "seed=7")
    assert f"Another run is active in {out}" in answer.sentence
    assert (out / "experiment.yaml").read_bytes() == kept


def test_an_unexpected_error_names_its_task_and_log(fields, call, tmp_path, monkeypatch):
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier

    def broken(*_):
        raise ZeroDivisionError("a mishap")

    monkeypatch.setattr(SVMClassifier, "fit", broken)
    out = tmp_path / "run"
    answer = call("run", fields.experiment, "-o", out)
    assert answer.code == 1
    log = out / "tasks" / "train-main-0-svm.log"
    last = answer.err.splitlines()[-1]
    assert "1 task failed, train-main-0-svm: ZeroDivisionError: a mishap" in last
    assert str(log) in last
    assert "Traceback" not in answer.err
    assert "in broken" in log.read_text()
    assert not (out / "metrics.json").exists()


@pytest.mark.parametrize("largest", [1e300, 1e39])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "EXPERIMENT", "-o", "OUT"],
        ["classify", "IMAGE", "--labels", "LABELS", "-o", "OUT"],
        ["features", "IMAGE", "--chain", "pca:2", "-o", "OUT.tif"],
        ["windows", "IMAGE", "--labels", "LABELS", "-o", "OUT.h5"],
        ["libsvm", "write", "IMAGE", "--labels", "LABELS", "-o", "OUT.el"],
        ["predict", "MODEL", "IMAGE", "-o", "OUT.tif"],
    ],
    ids=lambda words: words[0],
)
def test_values_too_large_to_compute_with(fields, call, tmp_path, trained, words, largest):
    """Each command says the same, before a library says something else."""
    with rasterio.open(fields.image) as file:
        profile, values = file.profile, file.read().astype(np.float64)
    values[2, 5:7, 5:7] = -largest
    with rasterio.open(fields.image, "w", **profile | {"dtype": "float64"}) as file:
        file.write(values)
    named = {
        "EXPERIMENT": fields.experiment,
        "IMAGE": fields.image,
        "LABELS": fields.labels,
        "MODEL": trained,
    }
    out = str(tmp_path / "out")
    answer = call(*(named.get(word, word.replace("OUT", out)) for word in words))
    # So large a value far from all others is noted as a likely fill before it is refused.
    assert answer.code == 2
    assert f"holds values up to {largest:.3g} in size" in answer.err
    assert "Traceback" not in answer.err
    assert not Path(out).with_suffix(".tif").exists()
