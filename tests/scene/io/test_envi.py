"""ENVI and ESRI headers as people's programs and editors leave them."""

import gzip

import numpy as np
import pytest
import rasterio

from hypercover.errors import LabelError, SceneError
from hypercover.scene.encoding import ScaleOffset
from hypercover.scene.io.reading import open_labels, open_scene

NM = [450.5, 550.25, 650.0, 850.0, 1400.0, 2200.0]
NAMES = ("Grün", "Blau", "Rot", "NIR", "Straße", "µ")
MAGIC = [
    b"\xff\xd8\xff\xe0",
    b"II*\0",
    b"\x89PNG\r\n\x1a\n",
    b"\x89HDF\r\n\x1a\n",
    b"PK\x03\x04",
    b"SQLite format 3\0",
    b"<VRTDataset",
    b'{"a":',
    b"MATLAB 5.0",
    b"CDF\x01",
    b"\x93NUMPY",
    b"\x1f\x8b",
    b"EHFA_HEADER_TAG",
    b"NITF02.10",
    b"\x0e\x03\x13\x01",
]


def text(shape, *, first="ENVI", kind=2, more="", end="\n"):
    """Return a header of a cube (band, row, col) of this type."""
    bands, rows, cols = shape
    lines = [
        first,
        "description = {Größe}",
        f"samples = {cols}",
        f"lines = {rows}",
        f"bands = {bands}",
        "header offset = 0",
        "file type = ENVI Standard",
        f"data type = {kind}",
        "interleave = bsq",
        "byte order = 0",
        "map info = {UTM, 1, 1, 500000, 4000000, 10, 10, 33, North, WGS-84}",
        "wavelength units = Nanometers",
        f"wavelength = {{{', '.join(map(str, NM))}}}",
        f"band names = {{{', '.join(NAMES)}}}",
        more,
    ]
    return end.join(lines) + end


def put(folder, values, header, data="a.img", name="a.hdr"):
    """Write pixels and the bytes of a header; return the path of the header."""
    (folder / data).write_bytes(values.tobytes())
    (folder / name).write_bytes(header)
    return folder / name


class TestHeaders:
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le"]
    )
    @pytest.mark.parametrize("given", ["a.hdr", "a.img"])
    def test_in_any_encoding(self, tmp_path, values, capfd, encoding, given):
        put(tmp_path, values, text(values.shape).encode(encoding))
        scene = open_scene(tmp_path / given)
        np.testing.assert_array_equal(scene.cube.values, values)
        assert scene.band_names == NAMES
        assert scene.header["description"] == "Größe"
        assert scene.wavelengths.tolist() == NM
        assert scene.grid.placed
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        "change",
        [
            lambda said: said.replace("\n", "\r"),
            lambda said: said.replace("\n", "\r\n"),
            lambda said: said.replace("ENVI\n", "; a note = of mine\n", 1),
            lambda said: said.replace("ENVI\n", "\n\nENVI\n", 1),
            lambda said: said.replace("ENVI\n", "", 1),
            lambda said: said.replace(" = ", "="),
            lambda said: "\n".join(
                f"{key.upper()} = {value}" if value else key
                for key, _, value in (line.partition(" = ") for line in said.split("\n"))
            ),
            lambda said: (
                said + f"spectra names = {{{'a name, ' * 3000}}}\nbbl = {{1,1,1,1,1,1}}\n"
            ),
        ],
    )
    def test_in_any_spelling(self, tmp_path, values, change):
        header = put(tmp_path, values, change(text(values.shape)).encode())
        scene = open_scene(header)
        np.testing.assert_array_equal(scene.cube.values, values)
        np.testing.assert_array_equal(
            scene.read(slice(2, 5), slice(3, 4)), values[:, 2:5, 3:4]
        )
        assert scene.wavelengths.tolist() == NM
        assert scene.band_names == NAMES

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            ("a.refl", "a.hdr"),
            ("a.b.c", "a.b.hdr"),
            ("a_RFL", "a_RFL.hdr"),
            ("A.IMG", "a.HDR"),
            ("a.xyz", "a.xyz.hdr"),
        ],
    )
    def test_find_data_of_any_suffix(self, tmp_path, values, data, name):
        for beside in ("a.txt", "a.aux.xml", "a.png", "a.b.prj"):
            (tmp_path / beside).write_text("beside")
        header = put(tmp_path, values, text(values.shape).encode(), data, name)
        np.testing.assert_array_equal(open_scene(header).cube.values, values)
        np.testing.assert_array_equal(open_scene(tmp_path / data).cube.values, values)

    def test_take_the_file_of_the_right_size(self, tmp_path, values):
        header = put(tmp_path, values, text(values.shape).encode(), "a.dat")
        (tmp_path / "a.img").write_bytes(b"something else")
        np.testing.assert_array_equal(open_scene(header).cube.values, values)

    def test_compressed_pixels(self, tmp_path, values):
        header = put(
            tmp_path, values, text(values.shape, more="file compression = 1").encode()
        )
        (tmp_path / "a.img").write_bytes(gzip.compress(values.tobytes()))
        np.testing.assert_array_equal(open_scene(header).cube.values, values)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda said: said.replace("bands = 6", ""), "lacks bands; add them"),
            (
                lambda said: said.replace("ENVI Standard", "ENVI Spectral Library"),
                "spectral library",
            ),
            (lambda said: "hello\n", "is not an image header"),
            (lambda said: "\0\1\2\xff" * 300, "is not an image header"),
        ],
    )
    def test_that_are_of_no_image(self, tmp_path, values, change, told):
        header = put(tmp_path, values, change(text(values.shape)).encode("latin-1"))
        with pytest.raises(SceneError, match=told):
            open_scene(header)

    def test_name_what_is_missing(self, tmp_path, values):
        header = put(tmp_path, values, text(values.shape).encode())
        (tmp_path / "a.img").unlink()
        with pytest.raises(
            SceneError, match=r"no data file: no file of 1,716 bytes called a,"
        ):
            open_scene(header)
        (tmp_path / "a.img").write_bytes(b"")
        with pytest.raises(SceneError, match=r"a\.img is empty"):
            open_scene(header)
        (tmp_path / "a.img").write_bytes(values.tobytes()[:900])
        with pytest.raises(SceneError, match="truncated: its header requires 1,716 bytes"):
            open_scene(header)


@pytest.mark.parametrize("magic", MAGIC)
@pytest.mark.parametrize("given", ["a.hdr", "a.img"])
def test_pixels_that_begin_like_another_format(tmp_path, values, magic, given):
    raw = bytearray(values.tobytes())
    raw[: len(magic)] = magic
    alike = np.frombuffer(bytes(raw), values.dtype).reshape(values.shape)
    put(tmp_path, alike, text(values.shape).encode())
    scene = open_scene(tmp_path / given)
    np.testing.assert_array_equal(scene.cube.values, alike)
    np.testing.assert_array_equal(scene.read(slice(0, 1), slice(0, 4)), alike[:, :1, :4])


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_class_names_of_labels(tmp_path, codes, utm, encoding):
    rows, cols = codes.shape
    header = (
        f"ENVI\nsamples = {cols}\nlines = {rows}\nbands = 1\ndata type = 1\ninterleave = bsq\n"
        "FILE TYPE = ENVI Classification\nCLASSES = 6\n"
        "Class Names = {Unclassified, Straße, Wald, c, d, Gewässer}\n"
        f"class lookup = {{{', '.join(['0,0,0'] + [f'{at},9,{at}' for at in range(1, 6)])}}}\n"
    )
    path = put(tmp_path, codes, header.encode(encoding))
    found, legend = open_labels(path, utm)
    np.testing.assert_array_equal(found, codes)
    assert legend.names == ("Straße", "Wald", "Gewässer")
    assert legend[5].color == "#050905"


class TestEsri:
    @pytest.mark.parametrize("layout", ["bil", "bip", "bsq"])
    @pytest.mark.parametrize("order", ["I", "M"])
    @pytest.mark.parametrize(
        ("dtype", "pixels"),
        [("f4", "float"), ("i2", "signedint"), ("u2", ""), ("u1", ""), ("i4", "signedint")],
    )
    @pytest.mark.parametrize("spelling", [str.upper, str.lower])
    def test_headers_of_every_kind(
        self, tmp_path, values, layout, order, dtype, pixels, spelling
    ):
        cube = values.astype(dtype)
        axes = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[layout]
        raw = cube.transpose(axes).astype(
            cube.dtype.newbyteorder("<" if order == "I" else ">")
        )
        (tmp_path / f"a.{layout}").write_bytes(b"\7" * 16 + raw.tobytes())
        said = (
            f"byteorder {order}\nlayout {layout}\nnrows 13\nncols 11\nnbands 6\n"
            f"nbits {8 * cube.dtype.itemsize}\nskipbytes 16\nulxmap 500005\nulymap 3999995\n"
            f"xdim 10\nydim 10\n{f'pixeltype {pixels}' if pixels else ''}\n"
        )
        (tmp_path / "a.hdr").write_text(spelling(said))
        for given in ("a.hdr", f"a.{layout}"):
            scene = open_scene(tmp_path / given)
            np.testing.assert_array_equal(scene.cube.values, cube)
            assert scene.cube.dtype == cube.dtype
            assert scene.grid.transform == (10, 0, 500_000, 0, -10, 4_000_000)


def test_a_grid_of_floats(tmp_path, values):
    floats = values[0].astype("<f4") / 7
    (tmp_path / "a.flt").write_bytes(floats.tobytes())
    (tmp_path / "a.hdr").write_text(
        "ncols 11\nnrows 13\nxllcorner 500000\nyllcorner 3999870\ncellsize 10\n"
        "NODATA_value -9999\nbyteorder LSBFIRST\n"
    )
    for name in ("a.flt", "a.hdr"):
        scene = open_scene(tmp_path / name)
        np.testing.assert_array_equal(scene.cube.values[0], floats)
        assert scene.grid.transform == (10, 0, 500_000, 0, -10, 4_000_000)
        assert scene.nodata == -9999


def test_a_label_header_without_data_is_named(tmp_path, codes, utm):
    path = put(tmp_path, codes, text((1, *codes.shape), kind=1).encode())
    (tmp_path / "a.img").unlink()
    with pytest.raises(LabelError, match="has no data file"):
        open_labels(path, utm)


def test_a_header_beside_a_tiff_says_what_its_bands_are(tmp_path, values):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=13, width=11, count=6, dtype="int16"
    ) as file:
        file.write(values)
    (tmp_path / "a.py").write_text("# beside")
    said = text(values.shape).replace("ENVI Standard", "TIFF")
    (tmp_path / "a.hdr").write_text(said, encoding="utf-8")
    scene = open_scene(tmp_path / "a.hdr")
    np.testing.assert_array_equal(scene.cube.values, values)
    assert scene.wavelengths.tolist() == NM


@pytest.mark.parametrize(
    "line",
    [
        "data ignore value = -9.999D+03",
        "data ignore value = -9.999d3",
        "data ignore value = {-9999}",
        'data ignore value = "-9999.0"',
        "data ignore value = {-9999, -9999.0, -9.999e3, -9999, -9999, -9999}",
        "Data  Ignore_Value= -9999",
        "nodata value = -9999",
    ],
)
def test_any_spelling_of_the_value_to_ignore(tmp_path, values, line):
    values[2, 5, 5] = -9999
    header = put(tmp_path, values, text(values.shape, more=line).encode())
    scene = open_scene(header)
    assert scene.nodata == -9999
    assert np.argwhere(~scene.valid).tolist() == [[5, 5]]


@pytest.mark.parametrize("word", ["none", "{}", "n/a", '""'])
def test_a_word_is_no_value_to_ignore(tmp_path, values, word):
    values[:, 5, 5] = 0
    put(tmp_path, values, text(values.shape, more=f"data ignore value = {word}").encode())
    scene = open_scene(tmp_path / "a.hdr")
    assert scene.nodata is None
    assert scene.valid.all()


def test_a_value_to_ignore_for_each_band(tmp_path, values):
    values[2, 5, 5], values[3, 6, 6], values[2, 7, 7] = -3, -4, -4
    more = "data ignore value = {-1, -2, -3, -4, -5, -6}"
    put(tmp_path, values, text(values.shape, more=more).encode())
    assert np.argwhere(~open_scene(tmp_path / "a.hdr").valid).tolist() == [[5, 5], [6, 6]]


def test_numbers_as_fortran_writes_them(tmp_path, values):
    more = (
        "data gain values = {1.0D-04, 1D-04, 1d-4, 1.D-4, .1D-3, 1.0D-04}\n"
        "fwhm = {1.0D+01, 1D1, 1D1, 1D1, 1D1, 1D1}"
    )
    said = text(values.shape, more=more).replace(str(NM[0]), "4.505D+02")
    put(tmp_path, values, said.replace("Grün", "1D2").encode())
    scene = open_scene(tmp_path / "a.hdr")
    assert scene.wavelengths.tolist() == NM
    assert scene.fwhm.tolist() == [10.0] * 6
    assert ScaleOffset.of(scene).scale == (1e-4,) * 6
    assert scene.band_names[0] == "1D2"


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.replace("550.25,", "550.25,\n; a comment, 1\n"),
        lambda said: said.replace("2200.0}", "2200.0"),
        lambda said: said.replace("wavelength = ", "wavelength\t=\t"),
        lambda said: said.replace(", 550.25", ",\n\n550.25"),
    ],
    ids=["comment", "open", "tabs", "blank"],
)
def test_lists_with_comments_or_without_an_end(tmp_path, values, change):
    values[2, 5, 5] = -9999
    said = change(text(values.shape, more="data ignore value = -9999"))
    put(tmp_path, values, said.encode())
    scene = open_scene(tmp_path / "a.hdr")
    assert scene.wavelengths.tolist() == NM
    assert scene.band_names == NAMES
    assert scene.nodata == -9999
