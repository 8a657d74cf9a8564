"""A run on image features: once computed they are kept, also by the model."""

import signal
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from hypercover.features.chain import Chain
from hypercover.scene.io.reading import open_scene

pytestmark = pytest.mark.usefixtures("sketched")

CHAIN = ["mnf:6", {"kpca": {"components": 2, "sample": 300}}, "esdap:area=4/16"]
MODELS = {
    "svm": {"kind": "svm", "features": "spatial", "nwfe": 4},
    "again": {"kind": "svm", "features": "spatial", "C": 3},
}


@pytest.fixture(scope="module")
def featured(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """A run of two SVMs on one chain, with two seeds and two splits."""
    folder = tmp_path_factory.mktemp("featured")
    path = desk.experiment(
        scene,
        folder,
        features={"spatial": CHAIN},
        models=MODELS,
        beside={"random": {"kind": "random", "train": 0.1}},
        repeats=2,
    )
    ended = desk.shell("run", path, "-o", folder / "run", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(path=path, folder=folder / "run", out=ended.stdout)


def test_the_stack_is_that_of_the_chain(featured, scene):
    stack = np.load(featured.folder / "features" / "spatial" / "stack.npy", mmap_mode="r")
    image = open_scene(scene.image, labels=False)
    expected = Chain.parse(CHAIN).fit_transform(image, seed=3).cube
    np.testing.assert_allclose(stack, expected, rtol=1e-5, atol=1e-5)


def test_figures_stand_beside_what_the_features_carry(desk, featured):
    told = desk.figures_of(featured.folder)
    parts = {"blocks": told["models"], "random": told["beside"]["random"]["models"]}
    for label, models in parts.items():
        carried = models["svm"]["leakage"]["features"]
        assert carried["chain"].startswith("mnf:6,kpca:2")
        assert carried["reach"] is None
        assert carried == models["again"]["leakage"]["features"]
        line = f"Features of again, svm under {label}: {carried['sentence']}"
        assert line in featured.out.splitlines()
    shares = [
        models["svm"]["leakage"]["features"]["mean_zone"] for models in parts.values()
    ]
    assert 0 < shares[0] < shares[1] <= 1
    assert "4 features by NWFE" in told["models"]["svm"]["description"]
    page = (featured.folder / "report.html").read_text()
    assert "are in one flat zone with a training pixel" in page


def test_the_kept_model_maps_the_image_as_the_run_did(
    call, desk, featured, scene, tmp_path
):
    for model in MODELS:
        bundle = featured.folder / "models" / model
        assert call("predict", bundle, scene.image, "-o", tmp_path / "map.tif").code == 0
        with rasterio.open(tmp_path / "map.tif") as file:
            found = file.read(1)
        np.testing.assert_array_equal(
            found, desk.pixels(featured.folder / "maps" / f"{model}.tif")
        )


def test_a_killed_run_goes_on_with_the_features_it_has(desk, featured, tmp_path):
    command = [str(desk.command), "run", str(featured.path), "-o", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=desk.environment,
    )
    give_up = time.monotonic() + 300
    while not (tmp_path / "tasks" / "features-spatial.json").exists():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.*")}
    assert len(kept) == 3
    assert not (tmp_path / "metrics.json").exists()
    again = desk.shell("run", featured.path, "-o", tmp_path, "--workers", 1)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert desk.figures_of(tmp_path) == desk.figures_of(featured.folder)


def test_features_no_longer_asked_for_are_removed_and_lost_ones_made_again(
    desk, scene, call, tmp_path
):
    def run(**changes):
        path = desk.experiment(scene, tmp_path, map=False, **changes)
        ended = call("run", path, "-o", tmp_path / "run")
        assert ended.code == 0, ended.err

    features = {"few": "pca:3", "other": "mnf:3"}
    run(features=features, models={"svm": {"kind": "svm", "features": "few"}})
    stack = tmp_path / "run" / "features" / "few" / "stack.npy"
    before = stack.read_bytes()
    stack.unlink()
    run(features=features, models={"svm": {"kind": "svm", "features": "few"}})
    assert stack.read_bytes() == before
    run(features=features, models={"svm": {"kind": "svm", "features": "other"}})
    assert not stack.exists()
    assert (tmp_path / "run" / "features" / "other" / "stack.npy").exists()


def test_windows_are_cut_from_the_features(desk, scene, call, tmp_path):
    models = {"cnn": {"kind": "cnn", "features": "few", "window": 5, "epochs": 1}}
    path = desk.experiment(scene, tmp_path, features={"few": "pca:3"}, models=models)
    assert call("run", path, "-o", tmp_path / "run").code == 0
    told = desk.figures_of(tmp_path / "run")["models"]["cnn"]
    assert told["description"].endswith("windows of the image features pca:3")
    assert told["leakage"]["window"] == 5
    assert told["leakage"]["features"]["reach"] == 0
    bundle = tmp_path / "run" / "models" / "cnn"
    assert call("predict", bundle, scene.image, "-o", tmp_path / "map.tif").code == 0
    np.testing.assert_array_equal(
        desk.pixels(tmp_path / "map.tif"),
        desk.pixels(tmp_path / "run" / "maps" / "cnn.tif"),
    )


def test_the_report_leaves_no_doubt_that_single_pixels_share_zones(desk, featured):
    page = (featured.folder / "report.html").read_text()
    told = desk.figures_of(featured.folder)["beside"]["random"]["models"]["svm"]
    share = f"{100 * told['leakage']['features']['mean_zone']:.1f}"
    assert f"no window, but {share}&nbsp;% share a flat zone with a training pixel" in page
    assert ">single pixels: no window<" not in page
    assert "It looks at the features of single pixels: no window is shared" in page
