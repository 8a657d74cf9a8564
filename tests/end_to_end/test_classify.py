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
    assert left["map"] == "best"
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
    """Labels in one small corner: only a random split is left."""
    codes = np.zeros_like(scene.codes)
    codes[30:34, 30:34] = 1 + np.arange(16).reshape(4, 4) % 2
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
