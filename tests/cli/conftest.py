"""A small measured-looking scene, its experiment, and a folder that fills up."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
import pytest
import xarray as xr
import yaml
from rasterio.crs import CRS

from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

ROWS, COLS, BANDS = 40, 48, 6
PLACE = (10.0, 0.0, 400_000.0, 0.0, -10.0, 5_500_000.0)


def cube_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Three classes in squares of 8 pixels, each with a spectrum of its own."""
    chance = np.random.default_rng(0)
    field = np.add.outer(np.arange(ROWS) // 8, np.arange(COLS) // 8)
    labels = (1 + field % 3).astype(np.uint8)
    spectra = chance.uniform(100, 900, (4, BANDS))
    cube = spectra[labels] + chance.normal(0, 30, (ROWS, COLS, BANDS))
    labels[chance.random(labels.shape) < 0.3] = 0
    return np.moveaxis(cube, -1, 0).round().astype(np.int16), labels


def fill(folder: Path) -> SimpleNamespace:
    """Write the scene, its labels and an experiment into a folder."""
    cube, labels = cube_and_labels()
    place = Grid(ROWS, COLS, CRS.from_epsg(32633).to_wkt(), PLACE)
    wavelengths = ("band", np.linspace(450.0, 2300.0, BANDS))
    array = xr.DataArray(cube, dims=("band", "y", "x"), coords={"wavelength": wavelengths})
    scene = Scene(with_grid(array, place), name="cube")
    image = write_scene(scene, folder / "cube.tif")
    legend = Legend.of({1: "Corn", 2: "Meadow", 3: "Woods"})
    marked = write_labels(labels, legend, scene.grid, folder / "labels.tif")
    document = {
        "name": "fields",
        "scene": {"path": "cube.tif", "labels": "labels.tif"},
        "split": {"kind": "blocks", "size": 8, "train": 0.3, "guard": 2},
        "models": {"svm": {"kind": "svm"}},
        "map": True,
    }
    (folder / "fields.yaml").write_text(yaml.safe_dump(document))
    return SimpleNamespace(
        folder=folder,
        image=image,
        labels=marked,
        experiment=folder / "fields.yaml",
        cube=cube,
        codes=labels,
        grid=scene.grid,
        legend=legend,
    )


@pytest.fixture
def fields(tmp_path: Path) -> SimpleNamespace:
    """The scene and its experiment in a folder that a test may spoil."""
    folder = tmp_path / "in"
    folder.mkdir()
    return fill(folder)


@pytest.fixture(scope="session")
def filled() -> Callable[[Path], SimpleNamespace]:
    """Fill a folder with the scene and its experiment, for tests that share one."""
    return fill


def not_looked_at(reason: str) -> NoReturn:
    """Skip a test, but where ``CI`` is set fail it: there nothing may go unseen."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make disks of a given size; skipped where this process may not mount."""
    mounted: list[Path] = []

    def made(options: str) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode:
            not_looked_at(f"no disk can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    if os.name != "posix" or os.geteuid() != 0:
        not_looked_at("a full disk needs root to mount one")
    yield made
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder and what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Read a whole folder, to see whether anything in it changed."""
    return contents


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A small SVM bundle, made once."""
    from hypercover.classifiers.bundle import save_bundle
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier

    chance = np.random.default_rng(0)
    spectra, codes = chance.normal(size=(30, 6)), np.repeat([1, 2, 3], 10)
    folder = tmp_path_factory.mktemp("trained")
    legend = [{"code": code, "name": f"c{code}", "color": "#112233"} for code in (1, 2, 3)]
    card = {
        "bands": [1, 2, 3, 4, 5, 6],
        "wavelengths": np.linspace(450.0, 2300.0, 6).tolist(),
        "fwhm": None,
        "legend": legend,
        "window": 1,
    }
    save_bundle(folder, SVMClassifier().fit(spectra + codes[:, None], codes), card)
    return folder
