"""An image is more than the file that names it."""

import pytest

from hypercover.scene.companions import companions

FOLDER = [
    "a.hdr", "a.img", "a.tif", "a.tif.aux.xml", "b.dat.hdr", "b.dat", "c.HDR", "C.RAW",
    "d.shp", "d.dbf", "d.shx", "d.prj", "d.qml", "e.gpkg", "e.gpkg-wal", "f", "f.hdr",
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "others"),
    [
        ("a.hdr", {"a.img"}),
        ("a.img", {"a.hdr"}),
        ("a.tif", set()),
        ("b.dat.hdr", {"b.dat"}),
        ("b.dat", {"b.dat.hdr"}),
        ("c.HDR", {"C.RAW"}),
        ("d.shp", {"d.dbf", "d.shx", "d.prj"}),
        ("e.gpkg", {"e.gpkg-wal"}),
        ("f", {"f.hdr"}),
    ],
)
def test_what_is_read_together_is_found(tmp_path, given, others):
    for name in FOLDER:
        (tmp_path / name).touch()
    first, *rest = companions(tmp_path / given)
    assert first == tmp_path / given
    assert {path.name for path in rest} == others
