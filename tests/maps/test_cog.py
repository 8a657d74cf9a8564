"""Maps of one band are cloud-optimised GeoTIFFs, by the rules their readers go by."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling

from hypercover.maps.cog import is_cog
from hypercover.maps.export import share_writer, write_class_map, write_confidence
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

GRID = Grid(700, 900, "EPSG:32616", (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_480_000.0))
LEGEND = Legend.of({1: "Corn", 2: "Woods", 300: "Hay"})


def check_cog(path):
    """Check the rules of GDAL's and rio-cogeo's validators and return the overviews."""
    with rasterio.open(path) as raster:
        assert raster.driver == "GTiff"
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        high, wide = raster.block_shapes[0]
        assert high == wide == 256
        factors = raster.overviews(1)

        def tag(name, overview):
            return int(raster.get_tag_item(name, "TIFF", bidx=1, ovr=overview))

        order = [None, *range(len(factors))]
        ifds = [tag("IFD_OFFSET", one) for one in order]
        data = [tag("BLOCK_OFFSET_0_0", one) for one in order]
    # Directories first, the full image before its overviews; pixels after them, the
    # smallest overview first.
    assert ifds == sorted(ifds)
    assert data == sorted(data, reverse=True)
    assert max(ifds) < min(data)
    # No overview may be missing down to the size of one tile.
    assert max(GRID.shape) / ([1, *factors][-1]) <= 512
    assert is_cog(path)
    return factors


def plain(path, side, **profile):
    shape = {"height": side, "width": side, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
        file.write(np.random.default_rng(0).integers(1, 9, (side, side), np.uint8), 1)
    return path


TILED = {"tiled": True, "blockxsize": 256, "blockysize": 256}


def test_what_is_no_cog_is_told(tmp_path):
    assert not is_cog(plain(tmp_path / "strips.tif", 600))
    bare = plain(tmp_path / "bare.tif", 600, **TILED)
    assert not is_cog(bare)
    with rasterio.open(bare, "r+") as file:
        file.build_overviews([2], Resampling.nearest)
    # Its overviews lie behind the pixels.
    assert not is_cog(bare)
    rasterio.shutil.copy(bare, tmp_path / "cog.tif", driver="COG")
    assert is_cog(tmp_path / "cog.tif")
    (tmp_path / "cog.tif.ovr").write_bytes(b"")
    assert not is_cog(tmp_path / "cog.tif")
    assert is_cog(plain(tmp_path / "small.tif", 300))


@pytest.mark.parametrize("top", [2, 300])
def test_a_class_map_is_a_cog_whose_overviews_hold_the_commonest_class(top, tmp_path):
    labels = np.where(np.indices(GRID.shape).sum(0) % 3 > 0, top, 1).astype(np.uint16)
    write_class_map(tmp_path / "m.tif", labels, LEGEND, GRID)
    factors = check_cog(tmp_path / "m.tif")
    assert factors
    with rasterio.open(tmp_path / "m.tif", overview_level=len(factors) - 1) as small:
        assert set(np.unique(small.read(1))) <= {1, top}
        assert (small.read(1) == top).mean() > 0.6
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert (raster.read(1) == labels).all()
        assert raster.colormap(1)[1][:3] == LEGEND[1].rgb
        assert raster.nodata == 0


def test_a_confidence_is_a_cog_whose_overviews_hold_means(tmp_path):
    sure = np.tile([[0.2, 0.6], [0.6, 1.0]], (350, 450)).astype(np.float32)
    write_confidence(tmp_path / "c.tif", sure, GRID)
    check_cog(tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif", overview_level=0) as small:
        assert small.read(1) == pytest.approx(0.6, abs=1e-6)
        assert np.isnan(small.nodata)


def test_probabilities_of_many_classes_stay_band_by_band(tmp_path):
    with share_writer(tmp_path / "p.tif", ("a", "b"), GRID) as raster:
        raster.write(np.full((2, *GRID.shape), 0.5, np.float32))
    with rasterio.open(tmp_path / "p.tif") as raster:
        assert raster.interleaving.name == "band"
        assert raster.descriptions == ("a", "b")
    assert {path.name for path in tmp_path.iterdir()} == {"p.tif", "p.qml"}


@pytest.mark.skipif(
    shutil.which("gdalinfo") is None and "CI" not in os.environ,
    reason="the program gdalinfo is not installed",
)
def test_gdal_calls_it_a_cog_with_overviews(tmp_path):
    write_class_map(tmp_path / "m.tif", np.ones(GRID.shape, np.uint8), LEGEND, GRID)
    call = ["gdalinfo", str(tmp_path / "m.tif")]
    said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert "LAYOUT=COG" in said
    assert "Overviews: 450x350, 225x175" in said
    assert {path.name for path in tmp_path.iterdir()} == {"m.tif", "m.tif.aux.xml", "m.qml"}
