"""Products of five missions, synthesised with their real layout, are read as they are."""

import shutil

import h5py
import numpy as np
import pytest
import rasterio

from hypercover.errors import SceneError
from hypercover.scene.file_identity import companions
from hypercover.scene.io import satellite_products
from hypercover.scene.io.reading import open_scene
from hypercover.scene.metadata import format_list

ALL = ["enmap", "sentinel", "landsat_text", "prisma", "emit"]


def test_enmap_has_wavelengths_widths_and_place(enmap):
    path, values = enmap
    scene = open_scene(path)
    assert (scene.cube.values == values).all()
    kept = np.array([0, 1, 2, 4, 5])
    assert scene.bands.tolist() == [1, 2, 3, 5, 6]
    assert scene.wavelengths == pytest.approx(418.4 + 7.25 * kept)
    assert scene.fwhm == pytest.approx(6.9 + kept / 10)
    assert scene.valid.all()
    assert "Bands without data were dropped: 4." in scene.notes
    assert scene.nodata == -32768
    assert scene.grid.transform == (30.0, 0.0, 5e5, 0.0, -30.0, 5.5e6)
    assert "Physical value of band 1: 0.0001 × number + 0." in scene.notes


def test_an_enmap_image_finds_its_metadata(enmap):
    image = next(path for path in enmap[0].parent.iterdir() if path.suffix == ".TIF")
    assert open_scene(image).wavelengths is not None
    enmap[0].unlink()
    assert open_scene(image).wavelengths is None


@pytest.mark.parametrize("name", ["SPECTRAL_IMAGE_COG.TIF", "SPECTRAL_IMAGE_COG.tiff"])
def test_enmap_as_the_catalogue_delivers_it(enmap, name):
    path, values = enmap
    image = next(one for one in path.parent.iterdir() if one.suffix == ".TIF")
    moved = image.rename(image.with_name(image.name.replace("SPECTRAL_IMAGE.TIF", name)))
    for one in (path, moved):
        assert (open_scene(one).cube.values == values).all()
        assert open_scene(one).wavelengths is not None


@pytest.mark.parametrize("rename", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("name", ALL)
def test_products_are_known_in_any_case_of_their_names(name, rename, request):
    path = request.getfixturevalue(name)[0]
    expected = open_scene(path).load()
    every = path.rglob("*") if path.is_dir() else path.parent.iterdir()
    for one in sorted(every, key=lambda one: -len(one.parts)):
        one.rename(one.with_name(rename(one.name)))
    scene = open_scene(path if path.is_dir() else path.with_name(rename(path.name)))
    assert (scene.cube.values == expected.cube.values).all()
    assert scene.wavelengths.tolist() == expected.wavelengths.tolist()
    assert scene.notes[1:] == expected.notes[1:] or name == "enmap"


@pytest.mark.parametrize("suffix", ["BSQ", "bsq", "BIL", "bip"])
def test_enmap_in_bare_pixels(enmap, suffix):
    path, values = enmap
    image = next(one for one in path.parent.iterdir() if one.suffix == ".TIF")
    with rasterio.open(image) as file:
        stored = file.read()
    axes = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[suffix.lower()]
    bare = image.with_suffix(f".{suffix}")
    bare.write_bytes(stored.transpose(axes).tobytes())
    header = image.with_suffix(".HDR" if suffix.isupper() else ".hdr")
    header.write_text(
        f"ENVI\nsamples = {stored.shape[2]}\nlines = {stored.shape[1]}\n"
        f"bands = {len(stored)}\ndata type = 2\ninterleave = {suffix.lower()}\n"
        "data ignore value = -32768\n"
    )
    image.unlink()
    for one in (path, bare, header):
        scene = open_scene(one)
        assert (scene.cube.values == values).all()
        assert scene.wavelengths is not None
        assert scene.valid.all()


def test_enmap_says_when_and_by_what_scale(enmap):
    path, _ = enmap
    assert open_scene(path).header == {
        "sensor type": "EnMAP HSI",
        "acquisition time": "2024-06-01T10:10:10.123456Z",
        "data gain values": format_list([0.0001] * 5),
        "data offset values": format_list([0] * 5),
    }
    path.write_text(
        path.read_text().replace("<OffsetOfBand>0</OffsetOfBand>", "<OffsetOfBand/>")
    )
    scene = open_scene(path)
    assert "data offset values" not in scene.header
    assert "Physical value of band 1: 0.0001 × number + 0." in scene.notes


def test_enmap_without_statistics_keeps_all_bands(enmap):
    path, _ = enmap
    path.write_text(path.read_text().replace("stdDeviation", "spread"))
    assert open_scene(path).n_bands == 6


@pytest.mark.parametrize(
    ("asked", "metres", "names", "centres"),
    [
        (None, 10, ["B02", "B03", "B04", "B08"], [492.7, 559.8, 664.6, 832.8]),
        ("R20m", 20, ["B02", "B05", "B8A", "B12"], [492.7, 704.1, 864.7, 2202.4]),
        ("R60m", 60, ["B01"], [442.7]),
    ],
)
def test_sentinel_2_by_resolution(sentinel, asked, metres, names, centres):
    folder, made = sentinel
    for path in (folder, folder / "MTD_MSIL2A.xml"):
        scene = open_scene(path, variable=asked)
        assert list(scene.band_names) == names
        assert scene.wavelengths == pytest.approx(centres)
        assert scene.grid.transform[0] == metres
        for name, band in zip(names, scene.cube.values, strict=True):
            assert (band == made[name, metres]).all()
    assert "Reflectance: (number + -1000) / 10000." in scene.notes
    numbers = {
        "B02": 1,
        "B03": 2,
        "B04": 3,
        "B08": 7,
        "B05": 4,
        "B8A": 8,
        "B12": 12,
        "B01": 0,
    }
    assert scene.header == {
        "sensor type": "Sentinel-2A MSI",
        "acquisition time": "2024-06-01T10:10:21.024Z",
        "data gain values": format_list([1e-4] * len(names)),
        "data offset values": format_list(
            (-1000 - numbers[name]) / 10_000 for name in names
        ),
    }
    some = scene.cube[[-1, 0], 1:3, [2, 0]].values
    assert (some == scene.cube.values[[-1, 0]][:, 1:3][:, :, [2, 0]]).all()


def test_sentinel_2_level_1c_keeps_its_bands_in_one_folder(sentinel):
    folder, _ = sentinel
    images = next(folder.glob("GRANULE/*/IMG_DATA"))
    for name, metres in (("B02", 10), ("B03", 10), ("B05", 20)):
        old = next((images / f"R{metres}m").glob(f"*_{name}_*"))
        shutil.copy(old, images / f"T33UUB_20240601T101021_{name}.jp2")
    for metres in (10, 20, 60):
        shutil.rmtree(images / f"R{metres}m")
    (folder / "MTD_MSIL2A.xml").rename(folder / "MTD_MSIL1C.xml")
    assert open_scene(folder).band_names == ("B02", "B03")
    assert open_scene(folder, variable="R20m").band_names == ("B05",)


def test_landsat_in_each_form_of_its_metadata(landsat):
    path, values = landsat
    scene = open_scene(path)
    assert (scene.cube.values == values).all()
    assert scene.band_names == ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
    assert scene.wavelengths[[0, 6]] == pytest.approx([443.0, 2200.7])
    assert scene.nodata == 0
    assert scene.name.endswith("_T1")
    assert "Reflectance: number × 2.75e-05 + -0.2." in scene.notes
    assert scene.header == {
        "sensor type": "LANDSAT_9 OLI_TIRS",
        "acquisition time": "2024-06-01T10:10:10.1234567Z",
        "data gain values": format_list([2.75e-05] * 7),
        "data offset values": format_list([-0.2] * 7),
    }


@pytest.mark.parametrize(
    ("name", "keys", "satellite", "scaled"),
    [
        ("LC81900252013152LGN00_MTL.txt", "FILE_NAME_BAND_{}", "LANDSAT_8", True),
        ("L5190025_02520110601_MTL.txt", "BAND{}_FILE_NAME", "Landsat5", False),
        ("LT51900252011152MTI01_mtl.TXT", "FILE_NAME_BAND_{}", "LANDSAT_5", False),
    ],
)
def test_landsat_before_the_collections(landsat_text, name, keys, satellite, scaled):
    path, values = landsat_text
    held = [1, 2, 3, 4, 5, 7] if satellite.endswith("5") else list(range(1, 8))
    lines = [
        "GROUP = L1_METADATA_FILE",
        "  GROUP = PRODUCT_METADATA",
        '    DATA_TYPE = "L1T"',
        f'    SPACECRAFT_ID = "{satellite}"',
    ]
    for number in held:
        file = next(path.parent.glob(f"*_SR_B{number}.TIF"))
        file = file.rename(file.with_name(f"{name[:-8]}_B{number}.TIF"))
        lines.append(f'    {keys.format(number)} = "{file.name}"')
        if scaled:
            lines += [
                f"    REFLECTANCE_MULT_BAND_{number} = 2.0000E-05",
                f"    REFLECTANCE_ADD_BAND_{number} = -0.100000",
            ]
    old = path.with_name(name)
    old.write_text("\n".join([*lines, "END"]))
    scene = open_scene(old)
    assert (scene.cube.values == values[[number - 1 for number in held]]).all()
    assert scene.band_names == tuple(f"B{number}" for number in held)
    assert any("Top-of-atmosphere" in note for note in scene.notes) == scaled


def test_landsat_of_level_1_is_seen_above_the_air(landsat_text):
    path, _ = landsat_text
    text = path.read_text().replace(
        'PROCESSING_LEVEL = "L2SP"', 'PROCESSING_LEVEL = "L1TP"'
    )
    start = text.index("  GROUP = LEVEL2_SURFACE")
    end = text.index("  GROUP = LEVEL1_PROCESSING")
    path.write_text(text[:start] + text[end:])
    notes = open_scene(path).notes
    assert (
        "Top-of-atmosphere reflectance: (number × 2e-05 + -0.1) / sine of the sun's elevation."
        in (notes)
    )


def test_prisma_is_put_in_order_on_its_grid(prisma):
    path, vnir, swir = prisma
    scene = open_scene(path)
    assert scene.wavelengths == pytest.approx([410, 700, 970, 940, 1200, 1500, 2000, 2490])
    assert scene.fwhm == pytest.approx(scene.wavelengths / 100)
    expected = np.concatenate([vnir[[3, 2, 1]], swir[[4, 3, 2, 1, 0]]])
    assert (scene.cube.values == expected).all()
    some = scene.cube[[6, 0, 4], 2:9:3, [7, 1]].values
    assert (some == expected[[6, 0, 4]][:, 2:9:3][:, :, [7, 1]]).all()
    # The corners are centres of pixels: the image begins half a pixel before.
    assert scene.grid.transform == pytest.approx((30.0, 0, 500_000, 0, -30.0, 5_500_000))
    assert "Reflectance of SWIR: 0 + number / 65535 × (0.5 − 0)." in scene.notes
    assert scene.header["sensor type"] == "PRISMA"
    assert scene.header["acquisition time"] == "2024-06-01T10:10:10.123000"
    assert scene.header["data gain values"] == format_list([0.5 / 65535] * 8)
    assert open_scene(path, variable="SWIR_Cube", axes="row,band,col").n_bands == 6


def test_the_least_reflectance_of_prisma_is_a_value(prisma):
    path, *_ = prisma
    with h5py.File(path, "r+") as file:
        cubes = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
        cubes["VNIR_Cube"][2, 2, 3] = 0
        cubes["VNIR_Cube"][5, :, 4] = cubes["SWIR_Cube"][5, :, 4] = 0
    expected = np.ones((12, 10), bool)
    expected[5, 4] = False
    assert (open_scene(path).valid == expected).all()


def test_prisma_of_level_1_is_radiance_without_a_place(prisma):
    path, *_ = prisma
    with h5py.File(path, "r+") as file:
        file.move("HDFEOS/SWATHS/PRS_L2D_HCO", "HDFEOS/SWATHS/PRS_L1_HCO")
        for name in [
            one for one in file.attrs if one.startswith(("L2", "Product_U", "Epsg"))
        ]:
            del file.attrs[name]
        for part in ("Vnir", "Swir"):
            file.attrs[f"ScaleFactor_{part}"] = np.float32(100)
            file.attrs[f"Offset_{part}"] = np.float32(2)
    scene = open_scene(path)
    assert not scene.grid.placed
    assert "Radiance of VNIR: number / 100 − 2." in scene.notes
    assert scene.header["data gain values"] == format_list([0.01] * 8)
    assert scene.header["data offset values"] == format_list([-2] * 8)


def test_prisma_corners_at_edges_make_the_same_pixels(prisma):
    path, *_ = prisma
    with h5py.File(path, "r+") as file:
        file.attrs["Product_ULcorner_easting"] = np.float32(500_000)
        file.attrs["Product_ULcorner_northing"] = np.float32(5_500_000)
        file.attrs["Product_LRcorner_easting"] = np.float32(500_000 + 30 * 10)
        file.attrs["Product_LRcorner_northing"] = np.float32(5_500_000 - 30 * 12)
    assert open_scene(path).grid.transform == pytest.approx(
        (30.0, 0, 500_000, 0, -30.0, 5_500_000)
    )


def test_emit_is_laid_on_its_grid(emit, monkeypatch):
    path, values, laid = emit
    monkeypatch.setattr(satellite_products, "_BLOCK", 5)
    scene = open_scene(path)
    assert (scene.cube.values == laid).all()
    assert scene.wavelengths == pytest.approx([400.0, 407.5, 1350.0, 2490.0])
    assert scene.fwhm == pytest.approx([8.5, 8.6, 8.7, 8.8])
    assert scene.bad.tolist() == [False, False, True, False]
    assert scene.grid.transform == pytest.approx((0.00054, 0, 11.5, 0, -0.00054, 48.2))
    assert (scene.valid == (laid[0] > 0)).all()
    assert scene.header == {
        "sensor type": "EMIT",
        "acquisition time": "2024-06-01T10:10:10+0000",
    }
    raw = open_scene(path, variable="reflectance", axes="row,col,band")
    assert (raw.cube.values == values.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    "spelt", [str.upper, str.lower, lambda name: name.replace("_", " ")]
)
@pytest.mark.parametrize("name", ["prisma", "emit"])
def test_attributes_and_arrays_in_any_spelling(name, spelt, request):
    path = request.getfixturevalue(name)[0]
    expected = open_scene(path)
    values = expected.cube.values
    with h5py.File(path, "r+") as file:
        for key in list(file.attrs):
            if not key.startswith("_"):
                value = file.attrs[key]
                del file.attrs[key]
                file.attrs[spelt(key)] = value
        if spelt is str.upper and name == "prisma":
            cubes = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
            cubes.move("VNIR_Cube", "VNIR_CUBE")
        if spelt is str.upper and name == "emit":
            file.move("location", "Location")
            file.move("sensor_band_parameters", "Sensor_Band_Parameters")
    found = open_scene(path)
    assert (found.cube.values == values).all()
    assert found.header == expected.header
    assert found.grid == expected.grid
    np.testing.assert_array_equal(found.wavelengths, expected.wavelengths)


@pytest.mark.parametrize("name", ALL)
def test_a_product_counts_as_all_its_files(name, request):
    path = request.getfixturevalue(name)[0]
    files = {
        one.name for one in companions(path / "MTD_MSIL2A.xml" if path.is_dir() else path)
    }
    expected = {"enmap": 2, "sentinel": 13, "landsat_text": 8, "prisma": 1, "emit": 1}
    assert len(files) == expected[name]


def xml_of(name, request):
    path = request.getfixturevalue(name)[0]
    return path / "MTD_MSIL2A.xml" if path.is_dir() else path


@pytest.mark.parametrize("name", ["enmap", "sentinel"])
@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
            "declares a document type",
        ),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">', "declares a document type"),
        ("<unfinished>", "is not XML"),
        ("", "larger than 16 MiB"),
    ],
)
def test_hostile_metadata_are_refused(name, hostile, told, request):
    path = xml_of(name, request)
    text = path.read_text().split("?>", 1)[1]
    padding = "" if hostile else f"<!--{' ' * 2**24}-->"
    path.write_text(hostile + padding + text)
    with pytest.raises(SceneError, match=told) as error:
        open_scene(path)
    assert str(error.value).count(". ") == 0


@pytest.mark.parametrize("name", ["enmap", "landsat_text", "sentinel"])
def test_missing_files_are_named(name, request):
    path = xml_of(name, request)
    for file in companions(path)[1:]:
        file.unlink()
    with pytest.raises(SceneError, match=r"next to|no band of R10m"):
        open_scene(path)


@pytest.mark.parametrize("elsewhere", ["../secret.TIF", "/etc/passwd", "..", "a/b.TIF"])
def test_landsat_metadata_lead_nowhere_else(landsat, elsewhere):
    path, _ = landsat
    path.write_text(path.read_text().replace(f"{path.stem[:-4]}_SR_B3.TIF", elsewhere))
    with pytest.raises(SceneError, match="not next to it and is never opened"):
        open_scene(path)


def test_bands_on_two_grids_are_refused(landsat):
    path, _ = landsat
    first, *_, last = sorted(path.parent.glob("*_SR_B*.TIF"))
    with rasterio.open(first) as file:
        profile, values = file.profile | {"height": 11}, file.read()[:, :11]
    with rasterio.open(last, "w", **profile) as file:
        file.write(values)
    with pytest.raises(SceneError, match="must lie on one grid"):
        open_scene(path)


def test_metadata_of_other_bands_are_refused(enmap):
    path, _ = enmap
    path.write_text(
        path.read_text()
        .replace('<bandID number="6"><wave', "<other><wave")
        .replace("</bandID></bandCharacterisation>", "</other></bandCharacterisation>")
    )
    with pytest.raises(
        SceneError, match="describes 5 bands, but the image next to it has 6"
    ):
        open_scene(path)


@pytest.mark.parametrize(
    ("name", "spoil", "told"),
    [
        (
            "prisma",
            lambda file: file.attrs.__delitem__("List_Cw_Swir"),
            "lacks List_Cw_Swir",
        ),
        ("emit", lambda file: file.attrs.__delitem__("geotransform"), "lacks geotransform"),
        (
            "emit",
            lambda file: file["location/glt_x"].__setitem__((8, 8), 99),
            "points outside",
        ),
    ],
)
def test_swaths_that_lack_their_place_are_refused(name, spoil, told, request):
    path = request.getfixturevalue(name)[0]
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(SceneError, match=told):
        open_scene(path)


def test_unknown_variables_and_satellites_are_refused(enmap, sentinel):
    with pytest.raises(SceneError, match="has one variable"):
        open_scene(enmap[0], variable="a")
    with pytest.raises(SceneError, match="three resolutions"):
        open_scene(sentinel[0], variable="R5m")
    other = enmap[0].with_name("LC02_L1TP_MTL.txt")
    other.write_text('SPACECRAFT_ID = "LANDSAT_2"\n')
    with pytest.raises(SceneError, match="must be from Landsat 4, 5, 7, 8 or 9"):
        open_scene(other)


def test_other_xml_is_never_opened(tmp_path):
    path = tmp_path / "image.xml"
    path.write_text("<VRTDataset/>")
    with pytest.raises(SceneError, match="is not opened"):
        open_scene(path)
    (tmp_path / "empty.SAFE").mkdir()
    with pytest.raises(SceneError, match="must hold one MTD_MSIL1C"):
        open_scene(tmp_path / "empty.SAFE")
