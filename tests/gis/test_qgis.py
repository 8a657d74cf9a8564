"""A real QGIS shows names and colours of what hypercover writes.

QGIS comes from the system's packages (python3-qgis) and with its own Python.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS

from hypercover.gis.map_writing import write_class_map, write_confidence
from hypercover.gis.polygons import write_polygons
from hypercover.scene.class_map import open_class_map
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

pytestmark = pytest.mark.slow

PYTHON = Path("/usr/bin/python3")
SETTINGS = {"QT_QPA_PLATFORM": "offscreen", "PATH": os.environ["PATH"], "HOME": "/tmp"}
PROGRAM = Path(__file__).with_name("in_qgis.py")
LEGEND = Legend.of(
    {1: "Corn, no till", 2: "Soy & <beans> \"'", 5: "Wälder 北"},
    {1: "#e6194b", 2: "#3cb44b", 5: "#ffe119"},
)
GRID = Grid(
    90, 120, CRS.from_epsg(32616).to_wkt(), (20.0, 0.0, 5e5, 0.0, -20.0, 4_480_000.0)
)


@pytest.fixture(scope="module")
def qgis():
    """Ask QGIS about a file; skipped, with a word, where there is none."""
    tried = subprocess.run(
        [PYTHON, "-c", "import qgis.core"], capture_output=True, env=SETTINGS
    )
    if tried.returncode:
        pytest.skip(
            "QGIS IS NOT INSTALLED (apt-get install python3-qgis): nothing was checked"
        )

    def asked(*words):
        call = [PYTHON, "-W", "ignore", PROGRAM, *map(str, words)]
        done = subprocess.run(call, capture_output=True, text=True, env=SETTINGS)
        lines = done.stdout.splitlines()
        assert lines, done.stderr
        return json.loads(lines[-1])

    return asked


@pytest.fixture
def labels():
    return np.kron(np.array([[1, 2, 5], [5, 0, 1]], np.uint8), np.ones((45, 40), np.uint8))


def test_the_legend_of_a_class_map_has_names_and_colours(qgis, labels, tmp_path):
    write_class_map(tmp_path / "m.tif", labels, LEGEND, GRID)
    said = qgis("raster", tmp_path / "m.tif", tmp_path / "m.png")
    assert said["crs"] == "EPSG:32616"
    assert said["legend"] == [[land.name, land.color] for land in LEGEND]
    # Of what is drawn, too: the middle of each field, and no data as the white page.
    assert said["pixels"] == [
        *["#e6194b", "#3cb44b", "#ffe119"],
        *["#ffe119", "#ffffff", "#e6194b"],
    ]


def test_names_are_found_without_the_style_as_well(qgis, labels, tmp_path):
    """GDAL's sidecar alone: what is left where a style is not copied along."""
    write_class_map(tmp_path / "m.tif", labels, LEGEND, GRID)
    (tmp_path / "m.qml").unlink()
    legend = qgis("raster", tmp_path / "m.tif", tmp_path / "m.png")["legend"]
    assert [[land.name, land.color] for land in LEGEND] == [
        row for row in legend if row[0] in LEGEND.names
    ]


def test_polygons_are_drawn_in_the_colours_of_their_classes(qgis, labels, tmp_path):
    write_class_map(tmp_path / "m.tif", labels, LEGEND, GRID)
    for name in ("p.gpkg", "p.geojson"):
        write_polygons(open_class_map(tmp_path / "m.tif"), tmp_path / name)
        said = qgis("vector", tmp_path / name, tmp_path / "p.png")
        assert said["legend"] == [[land.name, land.color] for land in LEGEND]
        assert said["count"] == 5
        assert said["pixels"][:3] == ["#e6194b", "#3cb44b", "#ffe119"]


def test_a_confidence_is_drawn_as_a_ramp(qgis, tmp_path):
    sure = np.full(GRID.shape, 0.5, np.float32)
    write_confidence(tmp_path / "c.tif", sure, GRID)
    said = qgis("raster", tmp_path / "c.tif", tmp_path / "c.png")
    assert said["renderer"] == "singlebandpseudocolor"
    assert set(said["pixels"]) == {"#21918c"}
