"""The simulated scene: what it holds, how it is cut, and what it refuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hypercover.errors import CallError, OutputError
from hypercover.scene.io.reading import open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.render import Sensor, sensor_bands
from hypercover.scene.simulation.simulate import (
    PRESETS,
    SimulationSettings,
    simulate,
    simulated_scene,
)

WATER = [*range(103, 108), *range(149, 163), 219]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulated_scene(
        SimulationSettings(rows=145, cols=145, bands=12, classes=16, seed=3)
    )


def test_a_written_scene_opens_as_simulated_with_all_it_knew(tmp_path: Path) -> None:
    made = simulated_scene(SimulationSettings(40, 48, 220, 4, 1))
    image, labels = simulate(tmp_path / "s.tif", rows=40, cols=48, classes=4, seed=1)
    assert labels.name == "s-labels.tif"
    read = open_scene(image, labels)
    assert read.simulated
    assert read.labels is not None
    np.testing.assert_array_equal(read.labels, made.labels)
    np.testing.assert_array_equal(read.cube.values, made.cube.values)
    np.testing.assert_allclose(read.wavelengths, sensor_bands(220).wavelengths)
    np.testing.assert_allclose(read.fwhm, sensor_bands(220).fwhm)
    assert read.legend == made.legend
    assert read.grid.transform == made.grid.transform
    assert "32616" in str(read.grid.crs)


def test_envi_holds_the_same_pixels(tmp_path: Path) -> None:
    made = simulated_scene(SimulationSettings(32, 40, 5, 2, 1))
    pixels, _ = simulate(tmp_path / "s.hdr", rows=32, cols=40, bands=5, classes=2, seed=1)
    read = open_scene(pixels)
    assert read.simulated
    np.testing.assert_array_equal(read.cube.values, made.cube.values)


def test_files_say_that_they_are_simulated_and_from_what(tmp_path: Path) -> None:
    import rasterio

    for path in simulate(tmp_path / "s.tif", rows=32, cols=32, bands=3, classes=2, seed=8):
        with rasterio.open(path) as file:
            tags = file.tags()
        assert tags["HYPERCOVER_SIMULATED"] == "yes"
        assert "seed 8" in tags["HYPERCOVER_SIMULATION"]
        assert "imulated" in tags["TIFFTAG_IMAGEDESCRIPTION"]


def test_same_seed_same_bytes_and_another_seed_another_scene(tmp_path: Path) -> None:
    made = [
        simulate(tmp_path / name / "s.tif", rows=70, cols=40, bands=8, classes=3, seed=seed)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    first, second, other = ([path.read_bytes() for path in paths] for paths in made)
    assert first == second
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_pixels_do_not_depend_on_how_the_cube_is_cut() -> None:
    scene = simulated_scene(SimulationSettings(61, 47, 9, 3, 2))
    whole = scene.read(slice(0, 61), slice(0, 47))
    for step in (1, 7, 32):
        strips = [
            scene.read(slice(top, min(top + step, 61)), slice(None))
            for top in range(0, 61, step)
        ]
        np.testing.assert_array_equal(np.concatenate(strips, axis=1), whole)
    corner = scene.read(slice(13, 29), slice(5, 40))
    np.testing.assert_array_equal(corner, whole[:, 13:29, 5:40])


def test_strips_within_a_block_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SimulationSettings(50, 40, 6, 2, 2)
    whole = simulated_scene(settings).cube.values
    monkeypatch.setattr("hypercover.scene.simulation.render._AT_ONCE", 6 * 40 * 7)
    np.testing.assert_array_equal(simulated_scene(settings).cube.values, whole)


def test_class_counts_are_as_unequal_as_on_indian_pines(scene: Scene) -> None:
    counts = np.bincount(scene.labels.ravel())
    assert len(scene.legend) == 16
    assert 1700 <= counts[1:].max() <= 2700
    assert 10 <= counts[1:].min() <= 40
    assert 0.4 <= (scene.labels > 0).mean() <= 0.6
    assert scene.legend[int(counts[1:].argmax()) + 1].name == "Soybean-mintill"
    assert scene.legend[int(counts[1:].argmin()) + 1].name == "Oats"


@pytest.mark.parametrize(
    "settings",
    [
        SimulationSettings(145, 145, 3, 16, 4),
        SimulationSettings(128, 128, 3, 10, 5),
        SimulationSettings(32, 300, 3, 8, 1),
    ],
)
def test_every_class_that_has_room_stands_on_two_fields(
    settings: SimulationSettings,
) -> None:
    from scipy import ndimage

    scene = simulated_scene(settings)
    for land in scene.legend:
        where = scene.labels == land.code
        if where.sum() > 80:
            assert ndimage.label(where)[1] >= 2, land.name


@pytest.mark.parametrize("classes", [2, 9, 33, 64])
def test_any_number_of_classes_is_labelled(classes: int) -> None:
    scene = simulated_scene(SimulationSettings(190, 200, 3, classes, 0))
    assert len(scene.legend) == classes
    assert len(set(scene.legend.names)) == classes
    assert set(np.unique(scene.labels)) == {0, *scene.legend.codes}


def test_margins_of_fields_are_not_labelled(scene: Scene) -> None:
    codes = scene.labels.astype(int)
    for one, other in ((codes[1:], codes[:-1]), (codes[:, 1:], codes[:, :-1])):
        assert not ((one != other) & (one > 0) & (other > 0)).any()


def test_water_bands_are_nearly_dead_and_the_others_are_not() -> None:
    cube = simulated_scene(SimulationSettings(40, 40, 220, 3, 0)).cube.values.astype(float)
    spread = (cube.mean(axis=(1, 2)) - 1000) / 500
    dead = np.isin(np.arange(220), WATER)
    assert spread[dead].max() < 0.25
    visible = np.arange(5, 90)
    assert spread[visible].min() > 3 * spread[dead].max()


def test_noise_depends_on_the_wavelength() -> None:
    noise = Sensor.over(sensor_bands(220), 40, np.random.default_rng(0)).noise
    assert noise[0] > 1.3 * noise[10]
    assert noise[10] > 3 * noise[200]
    cube = simulated_scene(SimulationSettings(60, 60, 220, 2, 0)).cube.values.astype(float)
    dark = np.arange(108)[103:]  # hardly any light, so that the noise stands alone
    np.testing.assert_allclose(cube[dark].std(axis=(1, 2)), noise[dark], rtol=0.1)


def test_vegetation_has_its_red_edge_and_soil_has_none() -> None:
    scene = simulated_scene(SimulationSettings(145, 145, 220, 16, 0))
    at = {nm: int(np.abs(scene.wavelengths - nm).argmin()) for nm in (670, 800)}
    cube = scene.cube.isel(band=list(at.values())).values.astype(float)
    ratio = cube[1] / cube[0]
    by_name = {land.name: ratio[scene.labels == land.code].mean() for land in scene.legend}
    assert by_name["Woods"] > 1.6
    assert by_name["Woods"] > 1.3 * by_name["Soybean-clean"]
    assert by_name["Woods"] > 1.3 * by_name["Stone-Steel-Towers"]


def test_radiance_is_of_the_size_that_aviris_measures(scene: Scene) -> None:
    cube = scene.cube.values
    assert cube.dtype == np.uint16
    assert cube.min() > 300
    assert 3000 < cube.max() < 20000


def test_progress_ends_at_the_last_row(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate(
        tmp_path / "s.tif",
        rows=130,
        cols=32,
        bands=3,
        classes=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (130, 130)
    assert len(seen) >= 3


def test_the_demo_preset_is_small_enough_for_a_demo() -> None:
    demo = PRESETS["demo"]
    assert demo.rows * demo.cols <= 150**2
    assert demo.bands == 220
    assert len(simulated_scene(demo).legend) == demo.classes


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"bands": 2}, "3 to 2101 bands, got 2"),
        ({"bands": 5000}, "got 5000"),
        ({"rows": 31}, "at least 32 rows"),
        ({"cols": 0}, "at least 32 rows"),
        ({"rows": 10**6, "cols": 10**6}, "at most"),
        ({"classes": 1}, "2 to 64 classes, got 1"),
        ({"classes": 65}, "got 65"),
        ({"rows": 32, "cols": 32, "classes": 40}, "40 classes need"),
        ({"rows": 32, "cols": 32, "classes": 17}, "17 classes do not fit"),
        ({"seed": -1}, "0 or more"),
        ({"preset": "moon"}, "'moon'"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(
    tmp_path: Path, wrong: dict[str, int], says: str
) -> None:
    with pytest.raises(CallError, match=says) as caught:
        simulate(tmp_path / "s.tif", **wrong)
    assert str(caught.value).count(".") <= 2
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"\.tif"):
        simulate(tmp_path / "s.jpeg")
    assert not list(tmp_path.iterdir())


def test_a_scene_larger_than_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="are free"):
        simulate(tmp_path / "deep" / "s.tif", rows=40, cols=40, bands=5, classes=2)
    assert not list(tmp_path.iterdir())


def test_land_larger_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hypercover.scene.simulation.simulate.available_bytes", lambda: 2**20
    )
    with pytest.raises(CallError, match="kept in memory"):
        simulate(tmp_path / "s.tif")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(OutputError, match="file"):
        simulate(tmp_path / "taken" / "s.tif", rows=32, cols=32, bands=3, classes=2)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_flight_line_is_written_in_less_than_a_gibibyte(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from hypercover.memory import peak_bytes\n"
        "from hypercover.scene.simulation.simulate import simulate\n"
        "simulate(sys.argv[1], preset='indian-pines-full')\n"
        "print(peak_bytes())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "line.tif")],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert 2**26 < int(ran.stdout.split()[-1]) < 2**30
