"""One small valid file, or a few that belong together, for each format that is read."""

import json
import os
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pyogrio
import rasterio
import rasterio.shutil
import scipy.io
import shapely
import xarray as xr
import yaml
from affine import Affine
from rasterio.warp import transform

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.cli.info import scene_table
from hypercover.cli.main import app
from hypercover.cli.tables import show
from hypercover.evaluation.run_metrics import read_run_metrics
from hypercover.experiment.config.experiment_file import dump, load_experiment
from hypercover.files import read_checksummed, write_json
from hypercover.gis.map_writing import write_class_map
from hypercover.libsvm.data import read_libsvm, summarize_libsvm
from hypercover.libsvm.models import (
    model_of,
    read_model,
    write_model,
)
from hypercover.scene.class_map import open_class_map
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.class_tables import read_legend
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split
from hypercover.windows.window_file import WindowFile

__all__ = ["SEEDS", "Seed"]

BANDS, ROWS, COLS = 4, 12, 16
PLACE = Grid(ROWS, COLS, "EPSG:32633", (10.0, 0.0, 400_000.0, 0.0, -10.0, 5_500_000.0))
LEGEND = Legend.of({1: "Corn", 2: "Meadow", 3: "Woods"})


@dataclass(frozen=True)
class Seed:
    """How a file is made and how it is read."""

    make: Callable[[Path], list[Path]]
    """Writes files into a folder and returns those to spoil, one at a time."""
    read: Callable[[Path], object]
    """Reads the file in a folder, as a command would."""


def _numbers() -> tuple[np.ndarray, np.ndarray]:
    """A cube (band, y, x) and its labels (y, x): three fields and what is unlabelled."""
    chance = np.random.default_rng(7)
    labels = np.repeat(np.array([1, 2, 3, 0], np.uint8), COLS // 4)[None].repeat(ROWS, 0)
    cube = chance.integers(1, 99, (BANDS, ROWS, COLS)) + 100 * labels
    return cube.astype(np.int16), np.ascontiguousarray(labels)


def _scene() -> Scene:
    cube, labels = _numbers()
    coords = {"wavelength": ("band", np.linspace(450.0, 2300.0, BANDS))}
    array = xr.DataArray(cube, dims=("band", "y", "x"), coords=coords)
    return Scene(with_grid(array, PLACE), labels, LEGEND, name="cube")


def _written(folder: Path, name: str = "cube.tif") -> Path:
    return Path(write_scene(_scene(), folder / name))


def _called(*words: object) -> None:
    app([str(word) for word in words], standalone_mode=False)


def _look(folder: Path, name: str, **options: Any) -> None:
    """Open an image, read it whole and say what ``info`` would."""
    scene = open_scene(folder / name, **options)
    np.asarray(scene.cube)
    show(*scene_table(scene))


def _labels(folder: Path, name: str) -> None:
    """Lay labels on a sound image."""
    _written(folder)
    _look(folder, "cube.tif", labels=folder / name)


def _tiff(**profile: Any) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        path = folder / "cube.tif"
        cube, _ = _numbers()
        place = {"crs": PLACE.crs, "transform": Affine(*PLACE.transform), "nodata": -1}
        shape = {"count": BANDS, "height": ROWS, "width": COLS, "dtype": "int16"}
        with rasterio.open(path, "w", driver="GTiff", **shape, **place, **profile) as file:
            file.write(cube)
            file.update_tags(ns="ENVI", wavelength_units="Nanometers")
            file.set_band_description(1, "blue (450.0 Nanometers)")
        return [path]

    return make


def _pam(folder: Path) -> list[Path]:
    _, labels = _numbers()
    write_labels(labels, LEGEND, PLACE, folder / "map.tif")
    return [folder / "map.tif.aux.xml"]


def _style(folder: Path) -> list[Path]:
    write_class_map(folder / "map.tif", _numbers()[1], LEGEND, PLACE)
    (folder / "map.clr").write_text("0 0 0 0\n1 255 204 0 Corn\n2 0 102 0 Woods\n")
    return [folder / "map.qml", folder / "map.clr"]


def _vrt(folder: Path) -> list[Path]:
    source, target = _written(folder), folder / "whole.vrt"
    rasterio.shutil.copy(source, target, driver="VRT")
    return [target]


def _read_vrt(folder: Path) -> None:
    # Only for this read: the sound file is read in the process that runs the tests.
    with patch.dict(os.environ, HYPERCOVER_ALLOW_VRT="1"):
        _look(folder, "whole.vrt")


def _envi(folder: Path) -> list[Path]:
    path = _written(folder, "cube.hdr")
    return [path.with_suffix(".hdr")] * 3 + [path]


def _hdf5(name: str, userblock: int = 0) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        cube, labels = _numbers()
        path = folder / name
        with h5py.File(path, "w", userblock_size=userblock) as file:
            data = file.create_dataset("cube", data=cube, chunks=(2, 6, 8), compression=4)
            data.attrs["_FillValue"] = np.int16(-1)
            data.attrs["units"] = "reflectance"
            file["labels"] = labels
            file["wavelength"] = np.linspace(450.0, 2300.0, BANDS)
            file["names"] = np.array([b"Corn", b"Meadow", b"Woods"])
        if userblock:
            content = path.read_bytes()
            path.write_bytes(
                b"MATLAB 7.3 MAT-file".ljust(userblock, b" ") + content[userblock:]
            )
        return [path]

    return make


def _netcdf(folder: Path) -> list[Path]:
    cube, labels = _numbers()
    path = folder / "cube.nc"
    with scipy.io.netcdf_file(path, "w", version=2) as file:
        for name, size in (("band", BANDS), ("y", ROWS), ("x", COLS)):
            file.createDimension(name, size)
        for name, values, dims in (
            ("cube", cube, ("band", "y", "x")),
            ("labels", labels.astype(np.int16), ("y", "x")),
            ("wavelength", np.linspace(450.0, 2300.0, BANDS), ("band",)),
            ("x", 400_005.0 + 10 * np.arange(COLS), ("x",)),
            ("y", 5_499_995.0 - 10 * np.arange(ROWS), ("y",)),
        ):
            file.createVariable(name, values.dtype, dims)[:] = values
        file.variables["cube"].units = b"reflectance"
    return [path]


def _matlab(*, compressed: bool) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        cube, labels = _numbers()
        path = folder / "cube.mat"
        arrays = {"cube": np.moveaxis(cube, 0, -1), "gt": labels, "name": "fields"}
        scipy.io.savemat(path, arrays, do_compression=compressed)
        return [path]

    return make


def _numpy(folder: Path) -> list[Path]:
    np.save(folder / "cube.npy", np.moveaxis(_numbers()[0], 0, -1))
    return [folder / "cube.npy"]


def _archive(folder: Path) -> list[Path]:
    cube, labels = _numbers()
    arrays = {"cube": np.moveaxis(cube, 0, -1), "labels": labels}
    np.savez_compressed(folder / "cube.npz", **arrays)
    return [folder / "cube.npz"]


def _erdas(name: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        cube, labels = _numbers()
        values = cube if name.endswith("lan") else labels[None]
        kind = 2 if name.endswith("lan") else 0
        head = struct.pack(
            "<6sHH6xIIII56xH2xfff",
            b"HEAD74",
            kind,
            len(values),
            COLS,
            ROWS,
            0,
            0,
            0,
            0.1,
            400_000.0,
            5_500_000.0,
        )
        rows = np.moveaxis(values.astype("<i2" if kind else "u1"), 0, 1)
        (folder / name).write_bytes(head.ljust(128, b"\0") + rows.tobytes())
        names = b"".join(
            text.ljust(32, b"~") for text in (b"none", b"Corn", b"Meadow", b"Woods")
        )
        trailer = (folder / name).with_suffix(".trl")
        trailer.write_bytes(b"TRAIL74".ljust(2048, b"\0") + names)
        return [folder / name] if kind else [folder / name, trailer]

    return make


def _degrees(shape: shapely.Geometry) -> shapely.Geometry:
    def moved(points: np.ndarray) -> np.ndarray:
        return np.column_stack(transform(PLACE.crs, "EPSG:4326", *points.T))

    return shapely.transform(shape, moved)


def _shapes(name: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        a, _, c, _, e, f = PLACE.transform
        boxes = [
            shapely.box(c + a * at, f + 9 * e, c + a * (at + 3), f) for at in (0, 5, 10)
        ]
        crs = PLACE.crs
        if name.endswith("json"):
            boxes, crs = [_degrees(box) for box in boxes], "EPSG:4326"
        columns = [np.array([1, 2, 3]), np.array(["Corn", "Meadow", "Woods"], object)]
        pyogrio.raw.write(
            folder / name,
            shapely.to_wkb(np.array(boxes)),
            columns,
            ["class", "note"],
            geometry_type="Polygon",
            crs=crs,
        )
        if name.endswith(".gpkg"):
            with closing(sqlite3.connect(folder / name)) as database:
                database.execute("PRAGMA journal_mode = DELETE")
        beside = sorted(folder.glob(f"{Path(name).stem}.*"))
        return [one for one in beside if one.suffix != ".cpg"]

    return make


def _text(name: str, text: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        (folder / name).write_text(text)
        return [folder / name]

    return make


def _experiment(folder: Path) -> list[Path]:
    document = {
        "name": "fields",
        "scene": {"path": "cube.tif", "labels": "labels.tif"},
        "split": {"kind": "blocks", "size": 4, "train": 0.3, "guard": 1},
        "models": {"svm": {"kind": "svm", "C": 10.0}, "net": {"kind": "cnn", "epochs": 2}},
        "features": {"wide": "pca:3"},
        "map": True,
    }
    _written(folder)
    write_labels(_numbers()[1], LEGEND, PLACE, folder / "labels.tif")
    (folder / "fields.yaml").write_text(yaml.safe_dump(document))
    return [folder / "fields.yaml"]


def _read_experiment(folder: Path) -> None:
    dump(load_experiment(folder / "fields.yaml"), folder / "filled.yaml")


def _split(folder: Path) -> list[Path]:
    split = RandomSplit(train=0.4).split(_numbers()[1], seed=3)
    split.save(folder, "split", grid=PLACE, legend=LEGEND, labels=_numbers()[1])
    return [folder / "split.json", folder / "split.tif"]


def _svm() -> SVMClassifier:
    cube, labels = _numbers()
    inside = labels > 0
    return SVMClassifier(C=10.0, gamma=0.1).fit(
        cube[:, inside].T.astype(float), labels[inside]
    )


def _libsvm_data(folder: Path) -> list[Path]:
    image = _written(folder)
    write_labels(_numbers()[1], LEGEND, PLACE, folder / "labels.tif")
    _called(
        "libsvm",
        "write",
        image,
        "--labels",
        folder / "labels.tif",
        "-o",
        folder / "data.el",
    )
    return [folder / "data.el", folder / "data.positions.json"]


def _read_libsvm(folder: Path) -> None:
    summarize_libsvm(folder / "data.el")
    read_libsvm(folder / "data.el", BANDS)
    _called("libsvm", "read", folder / "data.el", "-o", folder / "back.tif")


def _libsvm_model(folder: Path) -> list[Path]:
    write_model(folder / "svm.model", model_of(_svm()))
    return [folder / "svm.model"]


def _read_libsvm_model(folder: Path) -> None:
    read_model(folder / "svm.model", BANDS)


def _windows(folder: Path) -> list[Path]:
    image = _written(folder)
    write_labels(_numbers()[1], LEGEND, PLACE, folder / "labels.tif")
    _called(
        "windows",
        image,
        "--labels",
        folder / "labels.tif",
        "--size",
        3,
        "-o",
        folder / "W.h5",
    )
    return [folder / "W.h5"]


def _read_windows(folder: Path) -> None:
    windows = WindowFile(folder / "W.h5")
    np.asarray(windows[np.arange(min(len(windows), 50))])


def _bundle(folder: Path) -> list[Path]:
    card = {
        "bands": list(range(1, BANDS + 1)),
        "wavelengths": np.linspace(450.0, 2300.0, BANDS).tolist(),
        "fwhm": None,
        "legend": LEGEND.to_json(),
        "window": 1,
    }
    save_bundle(folder / "model", _svm(), card)
    # Without its checksum, which would refuse every mutant at once.
    path = folder / "model" / "model.json"
    write_json(path, read_checksummed(path.read_bytes()))
    return [folder / "model" / "model.json"] * 2 + [
        folder / "model" / "weights.safetensors"
    ]


def _read_bundle(folder: Path) -> None:
    load_bundle(folder / "model")
    image = _written(folder)
    _called("predict", folder / "model", image, "-o", folder / "map.tif")


def _class_map(folder: Path) -> list[Path]:
    write_labels(_numbers()[1], LEGEND, PLACE, folder / "map.tif")
    return [folder / "map.tif"]


def _read_class_map(folder: Path) -> None:
    open_class_map(folder / "map.tif")
    _called("export", folder / "map.tif", "-o", folder / "out.gpkg")


def _plan(folder: Path) -> list[Path]:
    _experiment(folder)
    _called("plan", folder / "fields.yaml", "-o", folder / "run", "--ready")
    return [
        *sorted((folder / "run").rglob("plan.json")),
        folder / "run" / "experiment.yaml",
    ]


def _read_plan(folder: Path) -> None:
    _called("status", folder / "run")


def _metrics(folder: Path) -> list[Path]:
    """The record of a run of the smallest model, made without a picture."""
    from unittest.mock import patch

    _experiment(folder)
    changes = (
        "--set",
        "models={svm: {kind: svm, C: 10, gamma: 0.1}}",
        "--set",
        "map=false",
    )
    with patch(
        "matplotlib.figure.Figure.savefig", lambda _, target, **__: Path(target).touch()
    ):
        _called("run", folder / "fields.yaml", "-o", folder / "run", *changes)
    return [folder / "run" / "metrics.json"]


def _read_metrics(folder: Path) -> None:
    from hypercover.report.report import write_report

    read_run_metrics(folder / "run")
    write_report(folder / "run")


_YAML = json.dumps(
    [{"code": 1, "name": "Corn", "color": "#ffcc00"}, {"code": 2, "name": "Woods"}]
)
SEEDS: dict[str, Seed] = {
    "geotiff-striped": Seed(_tiff(blockysize=5), lambda f: _look(f, "cube.tif")),
    "geotiff-tiled": Seed(
        _tiff(tiled=True, blockxsize=16, blockysize=16), lambda f: _look(f, "cube.tif")
    ),
    "geotiff-deflate": Seed(
        _tiff(compress="deflate", predictor=2, interleave="pixel"),
        lambda f: _look(f, "cube.tif"),
    ),
    "geotiff-lzw": Seed(
        _tiff(compress="lzw", tiled=True, blockxsize=16, blockysize=16, bigtiff="yes"),
        lambda f: _look(f, "cube.tif"),
    ),
    "class-map": Seed(_class_map, _read_class_map),
    "pam": Seed(_pam, lambda f: _labels(f, "map.tif")),
    "style": Seed(_style, lambda f: _labels(f, "map.tif")),
    "vrt": Seed(_vrt, _read_vrt),
    "envi": Seed(_envi, lambda f: _look(f, "cube.hdr")),
    "hdf5": Seed(_hdf5("cube.h5"), lambda f: _look(f, "cube.h5")),
    "matlab-7.3": Seed(_hdf5("cube.mat", 512), lambda f: _look(f, "cube.mat")),
    "netcdf": Seed(_netcdf, lambda f: _look(f, "cube.nc")),
    "matlab-5": Seed(_matlab(compressed=False), lambda f: _look(f, "cube.mat")),
    "matlab-5-zip": Seed(_matlab(compressed=True), lambda f: _look(f, "cube.mat")),
    "numpy": Seed(_numpy, lambda f: _look(f, "cube.npy")),
    "numpy-archive": Seed(_archive, lambda f: _look(f, "cube.npz")),
    "erdas-lan": Seed(_erdas("cube.lan"), lambda f: _look(f, "cube.lan")),
    "erdas-gis": Seed(_erdas("map.gis"), lambda f: _labels(f, "map.gis")),
    "geopackage": Seed(_shapes("shapes.gpkg"), lambda f: _labels(f, "shapes.gpkg")),
    "geojson": Seed(_shapes("shapes.geojson"), lambda f: _labels(f, "shapes.geojson")),
    "shapefile": Seed(_shapes("shapes.shp"), lambda f: _labels(f, "shapes.shp")),
    "flatgeobuf": Seed(_shapes("shapes.fgb"), lambda f: _labels(f, "shapes.fgb")),
    "legend-csv": Seed(
        _text("legend.csv", "code,name,color\n1,Corn,#ffcc00\n2,Woods,#006600\n"),
        lambda f: read_legend(f / "legend.csv"),
    ),
    "legend-yaml": Seed(
        _text("legend.yaml", _YAML), lambda f: read_legend(f / "legend.yaml")
    ),
    "experiment": Seed(_experiment, _read_experiment),
    "split": Seed(_split, lambda f: Split.load(f, "split")),
    "libsvm-data": Seed(_libsvm_data, _read_libsvm),
    "libsvm-model": Seed(_libsvm_model, _read_libsvm_model),
    "windows": Seed(_windows, _read_windows),
    "bundle": Seed(_bundle, _read_bundle),
    "plan": Seed(_plan, _read_plan),
    "metrics": Seed(_metrics, _read_metrics),
}
