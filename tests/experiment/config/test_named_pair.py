"""``rome`` on one's own files: a grey image, four coarser bands and the labels."""

import numpy as np
import pytest

from hypercover.errors import SceneError
from hypercover.experiment.config.presets import named_scene
from hypercover.scene.datasets.catalog import recognise_labels
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.pansharpen.fusion import pansharpen
from hypercover.scene.simulation.city import ROME_COUNTS, quickbird_pair


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A pair that says nothing of being simulated, and labels taken for the published."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    counts = {name: number // 40 for name, number in ROME_COUNTS.items()}
    pair = quickbird_pair(200, 240, 0, counts)
    plain = {"simulated": False, "labels": None}
    write_scene(pair.pan.replace(**plain), folder / "p.tif")
    write_scene(pair.bands.replace(**plain), folder / "deep/m.hdr")
    write_labels(pair.pan.labels, pair.pan.legend, pair.pan.grid, folder / "gt.tif")
    table = np.repeat(np.arange(1, 10, dtype=np.uint8), list(ROME_COUNTS.values()))[None]
    known = recognise_labels(table)
    mine = pair.pan.labels
    monkeypatch.setattr(
        "hypercover.scene.datasets.catalog.recognise_labels",
        lambda codes: known if np.array_equal(codes, mine) else None,
    )
    return folder


def test_a_pair_is_sharpened_once_into_the_run(files, tmp_path):
    said = []
    changes = named_scene(
        "rome", tmp_path / "run", data=[files], choice="real", say=said.append
    )
    given = dict(change.split("=", 1) for change in changes)
    image = next((tmp_path / "run/scene").glob("pansharpened-*.tif"))
    assert given["scene.path"] == f'"{image}"'
    assert given["scene.labels"] == f'"{files}/gt.tif"'
    pan, bands = open_scene(files / "p.tif"), open_scene(files / "deep/m.hdr")
    expected = pansharpen(pan, bands, keep_pan=True).cube.values
    assert (open_scene(image).cube.values == expected).all()
    assert any("which make Rome" in line for line in said)
    before = image.stat().st_mtime_ns
    (files / "p.tif").touch()
    named_scene("rome", tmp_path / "run", data=[files], choice="real", say=said.append)
    assert image.stat().st_mtime_ns == before
    assert list((tmp_path / "run/scene").glob("pansharpened-*.tif")) == [image]


def test_bands_of_another_place_make_no_pair(files, tmp_path):
    bands = open_scene(files / "deep/m.hdr").load()
    a, b, c, d, e, f = bands.grid.transform
    from hypercover.scene.grid import Grid, with_grid

    moved = Grid(*bands.shape, bands.grid.crs, (a, b, c + 1e5, d, e, f))
    write_scene(bands.replace(cube=with_grid(bands.cube, moved)), files / "deep/m.hdr")
    with pytest.raises(SceneError, match="No image of Rome was found"):
        named_scene(
            "rome", tmp_path / "run", data=[files], choice="real", say=lambda _: None
        )
