"""Nothing is lost of classes through GeoTIFF, ENVI and HDF5, nor on the way between them."""

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hypercover.errors import CallError, LabelError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.envi import list_item
from hypercover.scene.io.reading import open_labels, open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import clean_header, with_header
from hypercover.scene.scene import Scene

PRINTED = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(list(" ,;{}=<>&'\"")),
    min_size=1,
    max_size=12,
).map(str.strip)


@st.composite
def legends(draw):
    """Legends of printable names and of colours that differ and are not all grey."""
    codes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=5, unique=True))
    names = draw(st.lists(PRINTED.filter(bool), min_size=len(codes), max_size=len(codes)))
    tints = draw(
        st.lists(
            st.integers(0, 0xFFFF), min_size=len(codes), max_size=len(codes), unique=True
        )
    )
    colors = [f"#{tint % 256:02x}{255 - tint % 256:02x}{tint // 256:02x}" for tint in tints]
    return Legend.of(
        dict(zip(codes, names, strict=True)), dict(zip(codes, colors, strict=True))
    )


def scene_of(legend, grid):
    codes = np.zeros(grid.shape, np.uint16)
    codes.ravel()[: len(legend)] = legend.codes
    cube = xr.DataArray(np.ones((2, *grid.shape), np.int16), dims=("band", "y", "x"))
    return Scene(with_grid(cube, grid)).with_labels(codes, legend)


@given(legend=legends())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_and_colours_of_classes_come_back(legend, tmp_path, utm):
    scene = scene_of(legend, utm)
    for name in ("gt.tif", "gt.hdr"):
        write_labels(scene.labels, legend, utm, tmp_path / name)
        codes, found = open_labels(tmp_path / name, utm)
        assert (codes == scene.labels).all()
        assert found == legend, name
    write_scene(scene, tmp_path / "all.h5")
    found = open_scene(tmp_path / "all.h5")
    assert (found.labels == scene.labels).all()
    assert found.legend == legend
    codes, known = open_labels(tmp_path / "all.h5", utm)
    assert known == legend


ACQUIRED = {"sensor type": "HyMap", "acquisition time": "2005-06-21T10:32:00Z"}

ENTRY = st.text(
    st.sampled_from(list(" ,;{}=<>&'\"")) | st.characters(exclude_categories=["C"]),
    max_size=30,
)
KEYS = st.text("abcxyz09 _.-", min_size=1, max_size=12)


BANDS = 6
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=9)


def lists(values):
    return st.none() | st.lists(values, min_size=BANDS, max_size=BANDS)


@given(
    centres=lists(st.floats(200, 15_000)),
    # Narrower or wider ones are of another unit than nm.
    widths=lists(st.floats(1, 150)),
    bad=lists(st.booleans()),
    numbers=st.lists(st.integers(1, 500), min_size=BANDS, max_size=BANDS, unique=True),
    names=st.none() | st.lists(NAMES.map(list_item), min_size=BANDS, max_size=BANDS),
    nodata=st.none() | st.integers(-(2**15), 2**15 - 1),
    way=st.permutations(["a.tif", "b.h5", "c.hdr"]),
)
@example(
    centres=None,
    widths=None,
    bad=None,
    numbers=[*range(1, 7)],
    names=[list_item(name) for name in ("a", ",b", "; c", "d;e", "f", "g")],
    nodata=None,
    way=["a.tif", "b.h5", "c.hdr"],
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bands_come_back(
    centres, widths, bad, numbers, names, nodata, way, values, utm, tmp_path
):
    along = {
        "wavelength": centres,
        "fwhm": widths if centres else None,
        "bad": bad,
        "band": numbers,
        "band_name": names,
    }
    known = {
        name: ("band", np.array(one)) for name, one in along.items() if one is not None
    }
    cube = xr.DataArray(values, dims=("band", "y", "x"), coords=known)
    if nodata is not None:
        cube.attrs["nodata"] = float(nodata)
    first = last = Scene(with_grid(cube, utm))
    for name in way:
        write_scene(last, tmp_path / name)
        last = open_scene(tmp_path / name)
        for one in ("bad", "bands", "nodata", "band_names"):
            np.testing.assert_array_equal(getattr(last, one), getattr(first, one), one)
        for one in ("wavelengths", "fwhm"):
            found, expected = getattr(last, one), getattr(first, one)
            assert (found is None) == (expected is None)
            if expected is not None:
                np.testing.assert_array_equal(found, expected)


@given(
    said=st.dictionaries(KEYS, ENTRY | ENTRY.map("{{{}}}".format), max_size=5),
    scale=st.floats(1e-6, 1e6),
    way=st.permutations(["a.tif", "b.h5", "c.hdr"]),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_headers_come_back(said, scale, way, scene, tmp_path):
    header = clean_header(said | ACQUIRED | {"reflectance scale factor": repr(scale)})
    last = scene.replace(cube=with_header(scene.cube, header))
    for name in (*way, way[0]):
        write_scene(last, tmp_path / name)
        last = open_scene(tmp_path / name)
        if name == "c.hdr":
            header = {key: text.replace("=", "-") for key, text in header.items()}
        assert last.header.items() >= header.items(), name
    assert (last.cube.values == scene.cube.values).all()


@pytest.mark.parametrize(
    "way", [("a.tif", "b.h5", "c.hdr", "d.tif"), ("a.hdr", "b.h5", "c.tif")]
)
def test_nothing_is_lost_from_format_to_format(scene, tmp_path, way):
    named = scene.cube.assign_coords(band_name=("band", [f"b<{at}" for at in range(6)]))
    first = last = scene.replace(cube=named, simulated=True)
    for name in way:
        write_scene(last, tmp_path / name)
        last = open_scene(tmp_path / name)
    for one in ("wavelengths", "fwhm", "bad", "bands", "band_names", "nodata", "simulated"):
        np.testing.assert_array_equal(getattr(last, one), getattr(first, one))
    assert last.cube.attrs["units"] == "W m-2"
    assert last.grid.transform == first.grid.transform
    assert (last.cube.values == first.cube.values).all()


def test_other_programs_find_their_way_in_the_hdf5_file(scene, tmp_path):
    write_scene(scene, tmp_path / "a.h5", tags={"SEED": "3"})
    with xr.open_dataset(
        tmp_path / "a.h5", engine="netcdf4", decode_coords="all"
    ) as theirs:
        assert theirs["cube"].shape == (6, 13, 11)
        assert theirs["wavelength"].attrs["units"] == "nm"
        assert theirs["spatial_ref"].attrs["crs_wkt"] == scene.grid.crs
        assert theirs.attrs["SEED"] == "3"
    with h5py.File(tmp_path / "a.h5") as file:
        assert [axis.label for axis in file["cube"].dims] == ["band", "y", "x"]
        assert file["bbl"][:].tolist() == [1, 1, 0, 1, 1, 1]


def test_a_label_map_alone_is_no_hdf5_file(codes, utm, tmp_path):
    with pytest.raises(CallError, match="together with their image"):
        write_labels(codes, Legend(), utm, tmp_path / "gt.h5")


@pytest.mark.parametrize("part", ["name", "color"])
def test_lists_of_classes_that_do_not_fit_are_passed_over(
    scene, codes, utm, tmp_path, part
):
    legend = Legend.of({1: "a", 2: "b", 5: "c"})
    write_scene(scene.with_labels(codes, legend), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file[f"classes/{part}"]
        file[f"classes/{part}"] = np.array([b"x"] * 2)
    found = open_scene(tmp_path / "a.h5").legend
    assert found.codes == (1, 2, 5)
    expected = legend.names if part == "color" else ("Class 1", "Class 2", "Class 5")
    assert found.names == expected


def test_a_place_that_is_none_is_passed_over(scene, tmp_path):
    write_scene(scene, tmp_path / "a.h5")
    for text in ("1 2 3", "0 0 0 0 0 0", "nan 1 0 0 0 1", "a b c d e f"):
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file["spatial_ref"].attrs["GeoTransform"] = text
        assert not open_scene(tmp_path / "a.h5").grid.placed


def test_a_grid_must_fit_the_labels_asked_for(scene, codes, utm, tmp_path):
    write_scene(scene.with_labels(codes, Legend()), tmp_path / "a.h5")
    with pytest.raises(LabelError):
        open_labels(tmp_path / "a.h5", Grid(5, 5))


@pytest.mark.parametrize("name", ["a.tif", "a.hdr", "a.h5"])
@pytest.mark.parametrize(
    "note", ["{" + ", ".join(["0.12345678"] * 1100) + "}", "b" * 12_000]
)
def test_a_thousand_bands_and_long_entries_before_them_lose_nothing(name, note, tmp_path):
    # GDAL reads nothing behind a line of 10,000 bytes in an ENVI header.
    waves = np.linspace(400, 2500.123456, 1100)
    coords = {"wavelength": ("band", waves), "bad": ("band", np.arange(1100) % 7 == 0)}
    cube = xr.DataArray(np.ones((1100, 2, 3), "f4"), dims=("band", "y", "x"), coords=coords)
    said = clean_header({"a note": note, "sensor type": "HyMap"})
    write_scene(Scene(with_header(cube, said)), tmp_path / name)
    found = open_scene(tmp_path / name, labels=False)
    np.testing.assert_allclose(found.wavelengths, waves)
    assert (found.bad == coords["bad"][1]).all()
    assert said.items() <= found.header.items()
    assert (note in said.values()) == note.startswith("{")
