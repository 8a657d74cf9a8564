"""Small products, synthesised with the layout and the names of the real ones."""

import json

import h5py
import netCDF4
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.shutil import copy

ROWS, COLS = 12, 10


def cube_of(bands, rows=ROWS, cols=COLS, dtype=np.int16):
    """Return distinct numbers (band, row, col) from 1."""
    return np.arange(1, bands * rows * cols + 1).reshape(bands, rows, cols).astype(dtype)


def tif(path, values, side=30.0, crs=32633, nodata=None, driver="GTiff"):
    """Write a GeoTIFF, or a JPEG 2000 without loss."""
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "nodata": nodata,
        "crs": CRS.from_epsg(crs),
        "transform": Affine(side, 0.0, 5e5, 0.0, -side, 5.5e6),
    }
    made = path if driver == "GTiff" else path.with_suffix(".tmp.tif")
    with rasterio.open(made, "w", **profile) as file:
        file.write(values)
    if driver != "GTiff":
        copy(made, path, driver=driver, QUALITY="100", REVERSIBLE="YES")
        made.unlink()
        path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)
    return path


ENMAP = "ENMAP01-____L2A-DT0000001234_20240601T101010Z_001_V010400_20240602T000000Z-"


@pytest.fixture
def enmap(tmp_path):
    """EnMAP L2A: SPECTRAL_IMAGE.TIF and METADATA.XML; the fourth band, in vapour, is empty."""
    values = cube_of(5)
    stored = np.insert(values, 3, -32768, axis=0)
    tif(tmp_path / f"{ENMAP}SPECTRAL_IMAGE.TIF", stored, nodata=-32768)
    bands = "".join(
        f'<bandID number="{at + 1}"><wavelengthCenterOfBand>{418.4 + 7.25 * at}'
        f"</wavelengthCenterOfBand><FWHMOfBand>{6.9 + at / 10}</FWHMOfBand>"
        "<GainOfBand>0.0001</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"
        for at in range(6)
    )
    statistics = "".join(
        f'<bandID number="{at + 1}"><minimum>{low}</minimum><mean>{low}</mean>'
        f"<stdDeviation>{spread}</stdDeviation></bandID>"
        for at, (low, spread) in enumerate(
            [(310, 42.5)] * 3 + [(-1000000, 0)] + [(310, 42.5)] * 2
        )
    )
    path = tmp_path / f"{ENMAP}METADATA.XML"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- comment -->\n<level_X><metadata/>'
        "<base><level>L2A</level><temporalCoverage><startTime>2024-06-01T10:10:10.123456Z"
        "</startTime><stopTime>2024-06-01T10:10:14.6Z</stopTime></temporalCoverage></base>"
        '<specific><qualityFlag/><vnirBadPixels><bandID number="1"/></vnirBadPixels>'
        "<vnirProductQuality><expectedChannelsList>1,2</expectedChannelsList>"
        "</vnirProductQuality><swirProductQuality><expectedChannelsList>3,4,5,6"
        "</expectedChannelsList></swirProductQuality>"
        f"<bandCharacterisation>{bands}</bandCharacterisation>"
        "<backgroundValue>-32768</backgroundValue></specific>"
        f"<product><bandStatistics>{statistics}</bandStatistics></product></level_X>"
    )
    return path, values


SAFE = "S2A_MSIL2A_20240601T101021_N0510_R022_T33UUB_20240601T143000.SAFE"


@pytest.fixture
def sentinel(tmp_path):
    """Sentinel-2 L2A: a folder .SAFE with three resolutions."""
    folder = tmp_path / SAFE
    images = folder / "GRANULE/L2A_T33UUB_A012345_20240601T101021/IMG_DATA"
    made = {}
    for metres, names in ((10, "B08 B02 B03 B04"), (20, "B02 B05 B8A B12"), (60, "B01")):
        (images / f"R{metres}m").mkdir(parents=True)
        size = 60 * 4 // metres
        for at, name in enumerate(names.split()):
            values = cube_of(1, size, size, np.uint16) + 1000 * at + metres
            file = images / f"R{metres}m/T33UUB_20240601T101021_{name}_{metres}m.jp2"
            tif(file, values, metres, driver="JP2OpenJPEG")
            made[name, metres] = values[0]
        tif(
            images / f"R{metres}m/T33UUB_20240601T101021_TCI_{metres}m.jp2",
            np.repeat(values.clip(0, 255).astype(np.uint8), 3, 0),
            metres,
            driver="JP2OpenJPEG",
        )
    known = {"B1": 442.7, "B2": 492.7, "B3": 559.8, "B4": 664.6, "B8": 832.8, "B12": 2202.4}
    spectral = "".join(
        f'<Spectral_Information bandId="{at}" physicalBand="{name}"><Wavelength>'
        f'<MIN unit="nm">1</MIN><CENTRAL unit="nm">{nm}</CENTRAL></Wavelength>'
        "</Spectral_Information>"
        for at, (name, nm) in enumerate(known.items())
    )
    path = folder / "MTD_MSIL2A.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><n1:Level-2A_User_Product '
        'xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">'
        "<n1:General_Info><Product_Info>"
        "<PRODUCT_START_TIME>2024-06-01T10:10:21.024Z</PRODUCT_START_TIME>"
        '<Datatake datatakeIdentifier="GS2A_20240601T101021_046732_N05.10">'
        "<SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake></Product_Info>"
        "<Product_Image_Characteristics><QUANTIFICATION_VALUES_LIST>"
        '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
        "</QUANTIFICATION_VALUES_LIST><BOA_ADD_OFFSET_VALUES_LIST>"
        + "".join(
            f'<BOA_ADD_OFFSET band_id="{at}">{-1000 - at}</BOA_ADD_OFFSET>'
            for at in range(13)
        )
        + "</BOA_ADD_OFFSET_VALUES_LIST>"
        f"<Spectral_Information_List>{spectral}</Spectral_Information_List>"
        "</Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>"
    )
    return folder, made


LANDSAT = "LC09_L2SP_190025_20240601_20240602_02_T1"


@pytest.fixture(params=["txt", "xml", "json"])
def landsat(tmp_path, request):
    """Landsat 9 with each form of its metadata."""
    return landsat_in(tmp_path, request.param)


@pytest.fixture
def landsat_text(tmp_path):
    """Landsat 9 with the usual form of its metadata."""
    return landsat_in(tmp_path, "txt")


def landsat_in(tmp_path, form):
    """Write Landsat 9 Collection 2 level 2: a GeoTIFF for each band, and _MTL."""
    values = cube_of(7, dtype=np.uint16)
    names = {}
    for number in range(1, 8):
        names[f"FILE_NAME_BAND_{number}"] = f"{LANDSAT}_SR_B{number}.TIF"
        tif(tmp_path / f"{LANDSAT}_SR_B{number}.TIF", values[number - 1 : number], nodata=0)
    names["FILE_NAME_BAND_ST_B10"] = f"{LANDSAT}_ST_B10.TIF"
    groups = {
        "PRODUCT_CONTENTS": {
            "ORIGIN": "Image courtesy of the U.S. Geological Survey",
            "PROCESSING_LEVEL": "L2SP",
            **names,
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": "LANDSAT_9",
            "SENSOR_ID": "OLI_TIRS",
            "DATE_ACQUIRED": "2024-06-01",
            "SCENE_CENTER_TIME": "10:10:10.1234567Z",
        },
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": scales("2.75e-05", "-0.2"),
        "LEVEL1_PROCESSING_RECORD": {
            "PROCESSING_LEVEL": "L1TP",
            "FILE_NAME_BAND_1": f"{LANDSAT}_B1.TIF",
        },
        "LEVEL1_RADIOMETRIC_RESCALING": scales("2.0000E-05", "-0.100000"),
    }
    path = tmp_path / f"{LANDSAT}_MTL.{form}"
    path.write_text(metadata(groups, form))
    return path, values


def scales(gain, offset):
    """What turns numbers into reflectance, by band; it stands there for both levels."""
    names = {"MULT": gain, "ADD": offset}
    return {
        f"REFLECTANCE_{what}_BAND_{band}": value
        for what, value in names.items()
        for band in range(1, 8)
    }


def metadata(groups, form):
    """Write the groups of Landsat's metadata in one of their three forms."""
    if form == "json":
        return json.dumps({"LANDSAT_METADATA_FILE": groups}, indent=2)
    if form == "xml":
        inner = "".join(
            f"<{group}>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in values.items())
            + f"</{group}>"
            for group, values in groups.items()
        )
        return f"<LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>"
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, values in groups.items():
        lines += [f"  GROUP = {group}", *(f'    {k} = "{v}"' for k, v in values.items())]
        lines += [f"  END_GROUP = {group}"]
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


@pytest.fixture
def prisma(tmp_path):
    """PRISMA L2D: bands from long to short waves; of VNIR the first is empty, of SWIR the last."""
    path = tmp_path / "PRS_L2D_STD_20240601101010_20240601101014_0001.he5"
    vnir, swir = cube_of(4, dtype=np.uint16), cube_of(6, dtype=np.uint16) + 20_000
    swath = "HDFEOS/SWATHS/PRS_L2D_HCO"
    with h5py.File(path, "w") as file:
        file[f"{swath}/Data Fields/VNIR_Cube"] = vnir.transpose(1, 0, 2)
        file[f"{swath}/Data Fields/SWIR_Cube"] = swir.transpose(1, 0, 2)
        file[f"{swath}/Geolocation Fields/Latitude"] = np.zeros((ROWS, COLS))
        file["HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields/Cube"] = cube_of(1, 72, 60, np.uint16)[
            0
        ]
        for part, centres in (
            ("Vnir", [0.0, 970.0, 700.0, 410.0]),
            ("Swir", [2490.0, 2000.0, 1500.0, 1200.0, 940.0, 0.0]),
        ):
            file.attrs[f"List_Cw_{part}"] = np.array(centres, np.float32)
            file.attrs[f"List_Fwhm_{part}"] = np.array(centres, np.float32) / 100
            file.attrs[f"List_Cw_{part}_Flags"] = (np.array(centres) > 0).astype("u1")
            file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = 0.0, 0.5
        file.attrs["Product_StartTime"] = np.bytes_(b"2024-06-01T10:10:10.123000")
        file.attrs["Epsg_Code"] = np.uint32(32633)
        file.attrs["Product_ULcorner_easting"] = np.float32(500_015)
        file.attrs["Product_ULcorner_northing"] = np.float32(5_499_985)
        file.attrs["Product_LRcorner_easting"] = np.float32(500_015 + 30 * (COLS - 1))
        file.attrs["Product_LRcorner_northing"] = np.float32(5_499_985 - 30 * (ROWS - 1))
    return path, vnir, swir


def add(group, name, kind, dims, values, fill_value=None, **attributes):
    """Write a variable as the ground segment of EMIT does."""
    made = group.createVariable(name, kind, dims, fill_value=fill_value, zlib=True)
    made.setncatts(attributes)
    made[:] = values


@pytest.fixture
def emit(tmp_path):
    """EMIT L2A: a slanted swath with its lookup table."""
    path = tmp_path / "EMIT_L2A_RFL_001_20240601T101010_2415310_001.nc"
    values = cube_of(4, dtype=np.float32).transpose(1, 2, 0) / 1000
    rows, cols = np.indices((ROWS + COLS, ROWS + COLS))
    down, across = (rows + cols) // 2 - 3, (rows - cols) // 2 + 5
    inside = (down >= 0) & (down < ROWS) & (across >= 0) & (across < COLS)
    with netCDF4.Dataset(path, "w") as file:
        sizes = {
            "downtrack": ROWS,
            "crosstrack": COLS,
            "bands": 4,
            "ortho_y": ROWS + COLS,
            "ortho_x": ROWS + COLS,
        }
        for name, size in sizes.items():
            file.createDimension(name, size)
        swath = ("downtrack", "crosstrack")
        add(file, "reflectance", "f4", (*swath, "bands"), values, fill_value=-9999.0)
        bands = file.createGroup("sensor_band_parameters")
        add(
            bands,
            "wavelengths",
            "f4",
            ("bands",),
            [400.0, 407.5, 1350.0, 2490.0],
            units="nm",
        )
        add(bands, "fwhm", "f4", ("bands",), [8.5, 8.6, 8.7, 8.8], units="nm")
        add(bands, "good_wavelengths", "u1", ("bands",), [1, 1, 0, 1])
        place = file.createGroup("location")
        for name in ("lon", "lat", "elev"):
            add(place, name, "f8", swath, np.zeros((ROWS, COLS)))
        for name, at in (("glt_x", across), ("glt_y", down)):
            cells = np.where(inside, at + 1, 0)
            add(place, name, "i4", ("ortho_y", "ortho_x"), cells, fill_value=-9999)
        file.geotransform = np.array([11.5, 0.00054, 0.0, 48.2, 0.0, -0.00054])
        file.spatial_ref = CRS.from_epsg(4326).to_wkt()
        file.time_coverage_start = "2024-06-01T10:10:10+0000"
    laid = np.full((4, *inside.shape), -9999.0, np.float32)
    laid[:, inside] = values[down[inside], across[inside]].T
    return path, values, laid
