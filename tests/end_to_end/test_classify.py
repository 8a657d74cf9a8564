"""The analyst's one line: an image and labels, and no experiment file."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

pytestmark = pytest.mark.usefixtures("sketched")


def test_classify_needs_no_experiment_file(scene, call, tmp_path):
    """And leaves one that runs again at no cost."""
    run = tmp_path / "fields"
    words = ["--labels", scene.labels, "--model", "svm", "--seed", 2, "-o", run]
    answer = call("classify", scene.image, *words)
    assert answer.code == 0, answer.err
    left = yaml.safe_load((run / "experiment.yaml").read_text())
    assert left["split"]["kind"] == "blocks"
    assert left["beside"]["random"]["kind"] == "random"
    assert (left["map"], left["map_from"]) == (True, "all")
    assert left["split"]["validation"] == 0
    assert (left["seed"], list(left["models"])) == (2, ["svm"])
    assert f"Map: {run}/maps/svm.tif\n" in answer.out
    assert "random" in answer.out
    again = call("run", run / "experiment.yaml", "-o", run)
    assert (again.code, again.out, again.err) == (0, answer.out, "")


@pytest.fixture
def polygons(scene, tmp_path) -> Path:
    """The labelled fields as polygons with a text attribute, in degrees."""
    import pyogrio
    import shapely
    from rasterio.features import shapes
    from rasterio.warp import transform_geom

    with rasterio.open(scene.image) as image:
        crs, transform = image.crs, image.transform
    found = list(shapes(scene.codes, mask=scene.codes > 0, transform=transform))
    degrees = [
        shapely.geometry.shape(transform_geom(crs, "EPSG:4326", shape))
        for shape, _ in found
    ]
    names = np.array([f"crop {int(code)}" for _, code in found], dtype=object)
    path = tmp_path / "fields.gpkg"
    wkb = shapely.to_wkb(np.array(degrees, dtype=object))
    pyogrio.raw.write(
        str(path),
        wkb,
        [names],
        fields=["crop"],
        geometry_type="Polygon",
        crs="EPSG:4326",
        driver="GPKG",
    )
    return path


def test_classify_takes_polygons_of_another_coordinate_system(
    scene, polygons, call, tmp_path
):
    run = tmp_path / "run"
    words = ["--labels", polygons, "--label-field", "crop", "--model", "svm", "-o", run]
    answer = call("classify", scene.image, *words)
    assert answer.code == 0, answer.err
    told = json.loads((run / "metrics.json").read_text())
    assert [row["name"] for row in told["legend"]] == [f"crop {n}" for n in (1, 2, 3, 4)]
    counted = sum(told["split"][part]["count"] for part in ("train", "validation", "test"))
    assert counted + told["split"]["guard"]["count"] == np.sum(scene.codes > 0)
    assert "attribute 'crop'" in answer.out
    assert "attribute &#39;crop&#39;" in (run / "report.html").read_text()
    again = call("run", run / "experiment.yaml", "-o", run)
    assert (again.code, again.err) == (0, "")


def test_classify_says_loudly_when_no_blocks_can_be_drawn(scene, call, tmp_path):
    """Two fields side by side in one small corner: only a random split is left."""
    codes = np.zeros_like(scene.codes)
    codes[30:36, 30:34] = 1 + np.arange(24).reshape(6, 4) % 4 // 2
    np.save(tmp_path / "corner.npy", codes)
    run = tmp_path / "run"
    words = ["--labels", tmp_path / "corner.npy", "--model", "svm", "-o", run]
    answer = call("classify", scene.image, *words)
    assert answer.code == 0, answer.err
    note = "No guard-banded blocks can be drawn from these labels"
    assert f"Note: {note}" in answer.out
    assert note in (run / "report.html").read_text()
    left = yaml.safe_load((run / "experiment.yaml").read_text())
    assert left["split"]["kind"] == "random"
    assert note in left["notes"][0]


def few(scene, tmp_path, *counts: int) -> Path:
    """Label single pixels of the true classes, so many of each."""
    codes, rng = np.zeros_like(scene.codes), np.random.default_rng(5)
    for code, count in enumerate(counts, start=1):
        rows, cols = np.nonzero(scene.codes == code)
        some = rng.permutation(len(rows))[:count]
        codes[rows[some], cols[some]] = code
    np.save(tmp_path / "few.npy", codes)
    return tmp_path / "few.npy"


def test_seventeen_points_map_and_are_judged_one_by_one(scene, call, tmp_path):
    run, labels = tmp_path / "run", few(scene, tmp_path, 5, 4, 4, 4)
    answer = call("classify", scene.image, "--labels", labels, "--model", "svm", "-o", run)
    assert answer.code == 0, answer.err
    told = json.loads((run / "metrics.json").read_text())
    held = told["split"]["test"]["count"]
    assert told["split"]["kind"] == "leave-one-out"
    assert (held, told["map"]["pixels"]) == (17, 17)
    assert (told["split"]["validation"]["count"], told["map"]["missing"]) == (0, [])
    with rasterio.open(run / "maps" / "svm-check.tif") as file:
        check = file.read(1)
    points = np.load(labels) > 0
    right = told["models"]["svm"]["overall_accuracy"]
    assert np.mean(check[points] == 1) == pytest.approx(right)
    assert set(np.unique(check[points])) <= {1, 2}
    assert (check[~points] == 4).all()


def test_too_few_points_map_and_no_figure_is_given(scene, call, tmp_path):
    """One pixel of each class."""
    run, labels = tmp_path / "run", few(scene, tmp_path, 1, 1, 1, 1)
    words = ["--labels", labels, "--model", "svm", "--model", "forest", "-o", run]
    answer = call("classify", scene.image, *words)
    assert answer.code == 0, answer.err
    assert "Note: Too few labels to evaluate a map" in answer.out
    told = json.loads((run / "metrics.json").read_text())
    assert {one["overall_accuracy"] for one in told["models"].values()} == {None}
    with rasterio.open(run / "maps" / "svm.tif") as file:
        assert set(np.unique(file.read(1))) == {1, 2, 3, 4}
    assert "Too few labels to judge" in (run / "report.html").read_text()


def test_an_image_of_seven_pixels_is_classified(call, tmp_path):
    """An SVM on single pixels needs no window."""
    codes = 1 + np.add.outer(np.arange(7) // 3, np.arange(7) // 3) % 2
    np.save(tmp_path / "cube.npy", np.stack([codes * 50, 99 - codes]).astype(np.uint8))
    np.save(tmp_path / "codes.npy", codes.astype(np.uint8))
    words = ["--labels", tmp_path / "codes.npy", "--model", "svm", "-o", tmp_path / "run"]
    answer = call("classify", tmp_path / "cube.npy", *words)
    assert answer.code == 0, answer.err
    with rasterio.open(tmp_path / "run" / "maps" / "svm.tif") as file:
        assert (file.read(1) == codes).all()
