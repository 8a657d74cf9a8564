"""Names that no file can have are refused, and tables hold no formula."""

import csv
import io
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hypercover
from hypercover.errors import OutputError
from hypercover.files import atomic, check_writable, csv_text, missing_folders, write_text


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


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\tx",
        "\uff1d1",
        "-",
        "=",
        "+1 2",
    ],
)
def test_text_that_begins_like_a_formula_is_quoted(text):
    assert next(csv.reader(io.StringIO(csv_text([[text]]), newline=""))) == [f"'{text}"]


@pytest.mark.parametrize(
    "cell", [-1, -0.5, "-0.5", "+3", "-1e-05", "1.", "-inf", "nan", "Corn", "a=b", "2 -1"]
)
def test_numbers_and_other_text_stay_as_they_are(cell):
    assert csv_text([[cell]]) == f"{cell}\n"


@given(st.lists(st.lists(st.text(), min_size=2), min_size=1))
def test_no_cell_of_any_text_is_a_formula(rows):
    read = list(csv.reader(io.StringIO(csv_text(rows), newline="")))
    assert len(read) == len(rows)
    for cells, row in zip(read, rows, strict=True):
        for cell, text in zip(cells, row, strict=True):
            plain = text.replace("\r", " ")
            assert cell in (plain, f"'{plain}")
            number = re.fullmatch(
                r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-](inf|nan)", cell
            )
            assert number or not cell.startswith(tuple("=+-@\t\r"))


def test_only_one_function_writes_csv():
    root = Path(hypercover.__file__).parent
    writers = [p.name for p in root.rglob("*.py") if "csv.writer" in p.read_text()]
    assert writers == ["files.py"]
    assert not [p for p in root.rglob("*.py") if "DictWriter" in p.read_text()]
