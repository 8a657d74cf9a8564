"""``simulate --preset rome``: a pair, what it makes, labels with the published counts."""

import numpy as np
import pytest
import rasterio

from hypercover.errors import CallError
from hypercover.scene.datasets.catalog import recognise_labels
from hypercover.scene.io.reading import open_scene
from hypercover.scene.pansharpen.fusion import pansharpen
from hypercover.scene.simulation.city import ROME_COUNTS
from hypercover.scene.simulation.simulate import (
    PRESETS,
    SimulationSettings,
    simulate,
    write_simulated,
)

SMALL = SimulationSettings(240, 320, 5, 9, imitates="rome")


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return write_simulated(SMALL, tmp_path_factory.mktemp("city") / "c.tif")


def test_four_files_fit_together(city):
    image, labels = city
    assert {one.name for one in image.parent.iterdir()} == {
        *("c.tif", "c-pan.tif", "c-bands.tif", "c-labels.tif", "c-labels.tif.aux.xml")
    }
    pan, bands = (open_scene(image.with_name(f"c-{one}.tif")) for one in ("pan", "bands"))
    assert (pan.shape, bands.shape) == ((240, 320), (60, 80))
    assert bands.wavelengths.tolist() == [485, 560, 660, 830]
    scene = open_scene(image, labels)
    assert (scene.cube.values == pansharpen(pan, bands, keep_pan=True).cube.values).all()
    assert scene.band_names[0] == "pan"
    assert scene.simulated
    assert scene.legend.names == tuple(ROME_COUNTS)


@pytest.mark.slow
def test_the_preset_has_the_published_counts_but_for_one_pixel(tmp_path):
    _, labels = simulate(tmp_path / "rome.tif", preset="rome")
    with rasterio.open(labels) as file:
        codes = file.read(1)
    published = list(ROME_COUNTS.values())
    assert np.bincount(codes.ravel())[1:].tolist() == [published[0] - 1, *published[1:]]
    assert (PRESETS["rome"].rows, PRESETS["rome"].bands) == (1200, 5)
    assert recognise_labels(codes) is None


@pytest.mark.parametrize("size", [(100, 400), (241, 240), (240, 242)])
def test_a_city_without_room_is_refused(size, tmp_path):
    with pytest.raises(CallError, match="at least 160 rows and columns, multiples of 4"):
        write_simulated(
            SimulationSettings(*size, 5, 9, imitates="rome"), tmp_path / "c.tif"
        )
    assert list(tmp_path.iterdir()) == []
