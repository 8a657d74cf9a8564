"""Names that no file can have are refused before anything is written."""

import os

import pytest

from hypercover.errors import OutputError
from hypercover.files import atomic, check_writable, missing_folders, write_text


@pytest.mark.parametrize("name", ["", ".", "..", "/", "there", "there/", "none/.."])
def test_a_folder_is_no_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="a folder of that name is in the way"):
        check_writable(name)
    with pytest.raises(OutputError, match="a folder of that name"), atomic(name):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_device_and_a_pipe_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", tmp_path / "pipe"):
        with pytest.raises(OutputError, match="a file of that name is in the way"):
            write_text(path, "")


@pytest.mark.parametrize(
    "name", ["x" * 201, "é" * 101, "x" * 300, f"{'x' * 256}/a", "x/" * 2000 + "a"]
)
def test_a_name_that_is_too_long_is_refused(tmp_path, name):
    with pytest.raises(OutputError, match="choose a shorter one"):
        check_writable(tmp_path / name)


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("x" * 196 + ".txt")
    write_text(path, "all of it")
    assert path.read_text() == "all of it"


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a part of the path is a file"):
        check_writable(tmp_path / "file" / "folder" / "a.txt")


def test_folders_that_are_missing_are_told_from_below(tmp_path):
    assert missing_folders(tmp_path / "a" / "b" / "c.txt") == [
        tmp_path / "a" / "b",
        tmp_path / "a",
    ]
    assert missing_folders(tmp_path / "c.txt") == []
