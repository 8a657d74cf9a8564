"""What a file may ask for in unpacking."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from scipy.io import savemat

from hypercover import memory
from hypercover.errors import SceneError
from hypercover.scene.grid import Grid
from hypercover.scene.io.reading import open_labels, open_scene
from hypercover.scene.io.safe_parsers import read_bounded


def tif(path, values, **options):
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", **shape, **options
    ) as file:
        file.write(values)
    return path


@pytest.mark.parametrize("kind", ["npz", "mat", "h5", "sparse.h5", "tif", "sparse.tif"])
def test_what_unpacks_out_of_all_proportion_is_refused_unless_allowed(
    tmp_path, kind, monkeypatch
):
    path, zeros = tmp_path / f"a.{kind}", np.zeros((600, 700, 5), np.uint8)
    shape = {"count": 5, "height": 600, "width": 700, "dtype": "uint8"}
    if kind == "npz":
        np.savez_compressed(path, cube=zeros)
    elif kind == "mat":
        savemat(path, {"cube": zeros}, do_compression=True)
    elif kind.endswith("h5"):
        more = {} if "sparse" in kind else {"data": zeros}
        with h5py.File(path, "w") as file:
            file.create_dataset("cube", zeros.shape, "u1", compression="gzip", **more)
    elif kind == "tif":
        tif(path, np.moveaxis(zeros, -1, 0), compress="deflate", blockysize=600)
    else:
        with rasterio.open(path, "w", driver="GTiff", SPARSE_OK=True, **shape):
            pass
    axes = None if kind.endswith("tif") else "row,col,band"
    # Less than 1 GiB is unpacked whatever it is packed to.
    assert open_scene(path, axes=axes).shape == (600, 700)
    monkeypatch.setattr(memory, "_HARMLESS", 2**20)
    monkeypatch.setattr(memory, "_RATIO", 100)
    with pytest.raises(SceneError, match="more than 100 times as much") as refused:
        open_scene(path, axes=axes).load()
    assert str(path) in str(refused.value)
    monkeypatch.setenv("HYPERCOVER_ALLOW_UNPACKING", "1")
    assert open_scene(path, axes=axes).shape == (600, 700)


def test_what_is_packed_well_is_not_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_HARMLESS", 2**10)
    labels = np.zeros((1, 1024, 1024), np.uint8)
    labels[0, 300:320, 500:530] = 1
    path = tif(
        tmp_path / "a.tif",
        labels,
        compress="deflate",
        tiled=True,
        blockxsize=256,
        blockysize=256,
    )
    assert open_labels(path, Grid(1024, 1024))[0].sum() == 600


def test_a_device_is_read_up_to_the_limit():
    """Its size is 0, and it never ends."""
    with pytest.raises(SceneError, match="larger than 1 MiB"):
        read_bounded(Path("/dev/zero"), 2**20)
