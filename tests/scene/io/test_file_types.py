"""What people give in the place of an image or of labels, and what they are told."""

import shlex
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from hypercover.errors import LabelError, SceneError
from hypercover.scene.io.reading import open_labels, open_scene

TABLE = "id,x,y,class\n1,500030,4479970,water\n2,500090,4479890,forest\n"


@pytest.fixture
def image(tmp_path, values, utm):
    """A GeoTIFF of six bands."""
    path = tmp_path / "image.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=13,
        width=11,
        count=6,
        dtype="int16",
        crs=utm.crs,
        transform=Affine(*utm.transform),
    ) as file:
        file.write(values)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "image.tif.aux.xml",
        "image.aux.xml",
        "image.tif.ovr",
        "image.ovr",
        "image.tif.msk",
        "image.qml",
        "image.prj",
        "image.tfw",
        "image.clr",
        "IMAGE.TFW",
    ],
)
def test_a_file_beside_the_image_names_it(image, name):
    shutil.copy(image, image.with_name(name))
    with pytest.raises(SceneError, match=r"nothing else; give image\.tif\.$"):
        open_scene(image.with_name(name))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.hdf", b"\x0e\x03\x13\x01", "is in the format HDF4.*gdal_translate"),
        ("a.fits", b"SIMPLE  =    T", "is in the format FITS"),
        ("a.pix", b"PCIDSK  ", "is in the format PCIDSK"),
        ("a.tif", b"<!DOCTYPE html><html>", "is a web page"),
        ("a.tif", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.pkl", b"\x80\x04abc", "is a Python pickle"),
        ("a.pdf", b"%PDF-1.7", "is a PDF document"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "is an archive"),
        ("a.zip", b"PK\x03\x04", "is an archive"),
        ("a.txt", b"notes\nof mine\n", "is a text file"),
        ("a.csv", TABLE.encode(), "is a table"),
        ("a.xlsx", b"PK\x03\x04", "is a table.*save it as CSV first"),
        ("a.dat", TABLE.encode(), "is a table.*CSV:"),
    ],
)
@pytest.mark.parametrize("role", ["image", "labels"])
def test_what_is_neither_is_named(tmp_path, utm, name, content, told, role):
    path = tmp_path / name
    path.write_bytes(content)
    if role == "image":
        with pytest.raises(SceneError, match=told):
            open_scene(path)
    else:
        with pytest.raises(LabelError, match=told):
            open_labels(path, utm)


@pytest.mark.skipif(shutil.which("ogr2ogr") is None, reason="needs ogr2ogr")
def test_a_table_becomes_labels_as_it_is_told(image):
    table = image.with_name("points.csv")
    table.write_text(TABLE)
    with pytest.raises(LabelError) as error:
        open_scene(image, table)
    command = (
        str(error.value).split("(")[1].split(")")[0].replace("EPSG:4326", "EPSG:32616")
    )
    subprocess.run(shlex.split(command), cwd=image.parent, check=True)
    scene = open_scene(image, image.with_name("points.gpkg"), label_field="class")
    assert scene.legend.names == ("forest", "water")
    assert (scene.labels[1, 1], scene.labels[5, 4]) == (2, 1)


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_of_rows_and_columns_is_told_to_become_an_array(image, sign):
    table = image.with_name("pixels.csv")
    rows = ["row,col,class", "1,1,2", "5,4,1"]
    table.write_text("\n".join(rows).replace(",", sign))
    with pytest.raises(LabelError, match=r"lists rows and columns .* numpy\.save"):
        open_scene(image, table)
    labels = np.zeros(open_scene(image).shape, "uint16")
    labels[[1, 5], [1, 4]] = 2, 1
    np.save(image.with_name("labels.npy"), labels)
    scene = open_scene(image, image.with_name("labels.npy"))
    np.testing.assert_array_equal(scene.labels, labels)


@pytest.mark.parametrize("part", [".shx", ".dbf"])
def test_a_missing_part_of_a_shapefile_is_named(image, part):
    import pyogrio
    import shapely

    path = image.with_name("fields.shp")
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([shapely.box(500_020, 4_479_900, 500_100, 4_479_980)])),
        [np.array([3])],
        ["code"],
        geometry_type="Polygon",
        crs="EPSG:32616",
        driver="ESRI Shapefile",
    )
    assert open_scene(image, path).labels.any()
    path.with_suffix(part).unlink()
    with pytest.raises(LabelError, match=rf"lacks fields\{part} "):
        open_scene(image, path)


@pytest.mark.skipif(shutil.which("gdalwarp") is None, reason="needs gdalwarp")
def test_ground_control_points_are_named_with_the_remedy(tmp_path, values, image):
    path = tmp_path / "points.tif"
    corners = [(0, 0), (0, 11), (13, 0), (13, 11)]
    points = [
        GroundControlPoint(r, c, 500_000 + 20 * c, 4_480_000 - 20 * r) for r, c in corners
    ]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=13,
        width=11,
        count=6,
        dtype="int16",
        crs="EPSG:32616",
        gcps=points,
    ) as file:
        file.write(values)
    note = open_scene(path).notes[-1]
    assert "4 ground control points" in note
    subprocess.run(shlex.split(note.split("to one: ")[1].rstrip(".")), check=True)
    turned = open_scene(tmp_path / "points-warped.tif")
    np.testing.assert_array_equal(turned.cube.values, values)
    assert turned.grid.transform == pytest.approx((20, 0, 500_000, 0, -20, 4_480_000))


def test_bands_of_a_vrt_may_differ_in_type(tmp_path, monkeypatch, image, values):
    monkeypatch.setenv("HYPERCOVER_ALLOW_VRT", "1")
    kinds = ("Float32", "Byte", "Int16")
    for kind in kinds:
        dtype = {"Float32": "float32", "Byte": "uint8", "Int16": "int16"}[kind]
        with rasterio.open(
            tmp_path / f"{kind}.tif",
            "w",
            driver="GTiff",
            height=13,
            width=11,
            count=1,
            dtype=dtype,
        ) as file:
            file.write((values[:1] % 200).astype(dtype))
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{at}"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{kind}.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for at, kind in enumerate(kinds, 1)
    )
    path = tmp_path / "mixed.vrt"
    path.write_text(f'<VRTDataset rasterXSize="11" rasterYSize="13">{bands}</VRTDataset>')
    scene = open_scene(path)
    assert scene.cube.dtype == np.float32
    for chosen in (scene.cube.values, scene.take_bands([1]).cube.values):
        assert chosen.dtype == np.float32
        np.testing.assert_array_equal(chosen, np.repeat(values[:1] % 200, len(chosen), 0))


def test_names_of_bands_in_another_encoding_are_left_out(tmp_path, image, values, capfd):
    with rasterio.open(image, "r+") as file:
        file.descriptions = [f"abXX{at}" for at in range(6)]
    image.write_bytes(image.read_bytes().replace(b"XX", b"\xfc\xdf"))
    scene = open_scene(image)
    np.testing.assert_array_equal(scene.cube.values, values)
    assert scene.band_names is None
    assert capfd.readouterr() == ("", "")


def test_a_refusal_is_short_whatever_the_file_holds(tmp_path, values):
    np.savez(tmp_path / "a.npz", **{f"{'x' * 60_000}{at}": values[0] for at in range(12)})
    with pytest.raises(SceneError) as error:
        open_scene(tmp_path / "a.npz")
    assert len(str(error.value)) < 2100
    assert str(error.value).startswith(str(tmp_path / "a.npz"))
    assert str(error.value).endswith("the image first.")
