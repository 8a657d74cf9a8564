"""Files that work reads: known again by content where their times changed, and by nothing less."""

import os

import pytest

from hypercover.scene import file_identity as module
from hypercover.scene.file_identity import (
    FileRecord,
    companions,
    file_record,
    record_files,
    recorded_identity,
)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "cube.npy"
    path.write_bytes(b"some pixels")
    return path


@pytest.fixture
def run(tmp_path, image):
    """A run folder that remembers the image."""
    folder = tmp_path / "run"
    with file_record(folder / "inputs.json"):
        recorded_identity(image)
        record_files()
    return folder


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that were read whole."""
    names, file_sha256 = [], module.file_sha256

    def noting(path):
        names.append(str(path))
        return file_sha256(path)

    monkeypatch.setattr(module, "file_sha256", noting)
    return names


def touch(path, seconds=100):
    time = path.stat().st_mtime_ns + seconds * 10**9
    os.utime(path, ns=(time, time))


def seen(folder, path):
    with file_record(folder / "inputs.json"):
        return recorded_identity(path)


def test_a_file_that_was_touched_is_the_same_and_read_once(run, image, hashed):
    before = seen(run, image)
    assert hashed == []
    touch(image)
    for _ in range(3):
        assert seen(run, image) == before
    assert hashed == [str(image)]


def test_a_file_of_the_same_size_and_other_content_is_another(run, image):
    before = seen(run, image)
    image.write_bytes(b"other pixel")
    touch(image)
    assert seen(run, image) != before


def test_a_file_of_another_size_is_another_without_being_read(run, image, hashed):
    before = seen(run, image)
    image.write_bytes(b"more pixels than before")
    assert seen(run, image) != before
    assert hashed == []


def test_a_new_file_is_remembered_in_the_place_of_the_old(run, image):
    image.write_bytes(b"other pixel")
    touch(image)
    with file_record(run / "inputs.json"):
        now = recorded_identity(image)
        record_files()
    touch(image)
    assert seen(run, image) == now


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"files": {"x": {"size": -1}}}', '{"files": 3}', "[" * 10**5]
)
def test_a_damaged_memory_is_none(run, image, text):
    before = seen(run, image)
    (run / "inputs.json").write_text(text)
    assert seen(run, image) == before
    touch(image)
    assert seen(run, image) != before


def test_nothing_is_written_where_nothing_is_new(run, image):
    path = run / "inputs.json"
    before = path.stat().st_mtime_ns
    seen(run, image)
    assert path.stat().st_mtime_ns == before


def test_without_a_folder_time_and_size_decide(image):
    before = FileRecord().identity(image)
    assert FileRecord().identity(image) == before
    touch(image)
    assert FileRecord().identity(image) != before
    assert recorded_identity(None) == ()


FOLDER = [
    "a.hdr",
    "a.img",
    "a.tif",
    "a.tif.aux.xml",
    "b.dat.hdr",
    "b.dat",
    "c.HDR",
    "C.RAW",
    "d.shp",
    "d.dbf",
    "d.shx",
    "d.prj",
    "d.qml",
    "e.gpkg",
    "e.gpkg-wal",
    "f",
    "f.hdr",
]


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
