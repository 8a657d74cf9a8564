"""What tells kept pieces of an image from those of another."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from hypercover.errors import OutputError, SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.reading import open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.simulate import simulate
from hypercover.scene.tile_store import open_tile_store, scene_identity


@pytest.fixture
def scene(tmp_path):
    file = tmp_path / "in" / "cube.tif"
    simulate(file, rows=32, cols=32, bands=4, classes=4)
    return open_scene(file, labels=False)


def test_the_same_file_has_the_same_facts_and_a_replaced_one_has_not(scene, tmp_path):
    file = tmp_path / "in" / "cube.tif"
    known = scene_identity(scene)
    assert scene_identity(open_scene(file, labels=False)) == known
    file.touch()
    assert scene_identity(open_scene(file, labels=False)) != known


def test_another_place_or_no_data_value_is_another_image(scene):
    moved = replace(scene.grid, transform=(1.0, 0.0, 5.0, 0.0, -1.0, 9.0))
    elsewhere = scene.replace(cube=with_grid(scene.cube, moved))
    holed = scene.replace(cube=scene.cube.assign_attrs(nodata=3))
    known = scene_identity(scene)
    assert scene_identity(elsewhere) != known != scene_identity(holed)


@pytest.mark.parametrize(
    ("error", "left"), [(SceneError, False), (OutputError, True), (KeyboardInterrupt, True)]
)
def test_what_cannot_be_made_leaves_nothing_and_what_can_go_on_stays(tmp_path, error, left):
    target = tmp_path / "a" / "b" / "cube.tif"

    def fail():
        with open_tile_store(target, lambda: {"made of": 1}) as store:
            store.begin()
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "a").is_dir() == left
    with open_tile_store(target, lambda: {"made of": 1}) as store:
        assert store.folder.is_dir() == left
        store.begin()
    assert list(target.parent.iterdir()) == []


def test_a_damaged_place_is_told_as_any_other(tmp_path):
    cube = xr.DataArray(np.ones((1, 2, 3), np.float32), dims=("band", "y", "x"))
    nowhere = Grid(2, 3, None, (float("nan"), 0.0, 0.0, 0.0, -1.0, 0.0))
    plan = scene_identity(Scene(with_grid(cube, nowhere)))
    with open_tile_store(tmp_path / "out.tif", lambda: plan) as store:
        store.save(0, {"values": np.ones(2)})
    assert plan != scene_identity(Scene(cube))
