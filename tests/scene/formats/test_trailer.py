"""Class names beside an ERDAS label map, as MultiSpec writes them."""

import struct

import numpy as np
import pytest

from hypercover.scene.formats.trailer import read_names
from hypercover.scene.grid import Grid
from hypercover.scene.reading import open_labels

NAMES = ["background", "Corn-CleanTill-NS-Irrigated", "Hay?", "", "Grass/Trees"]


def write_gis(path, codes):
    """Write a label map of 8 bits: a head of 128 bytes, then the codes."""
    rows, cols = codes.shape
    head = struct.pack("<6sHH6xii", b"HEAD74", 0, 1, cols, rows)
    path.write_bytes(head.ljust(128, b"\0") + codes.tobytes())


def trailer(names, head=b"TRAIL74"):
    """Lay out a trailer: head, colours, head, counts, and 32 bytes for each name."""
    colours = bytes(range(256)) * 3
    listed = b"".join((name.encode("latin-1") + b"~").ljust(32, b"\0") for name in names)
    return (
        head.ljust(128, b"\0") + colours + head.ljust(128, b"\0") + bytes(8 * 128) + listed
    )


@pytest.mark.parametrize("suffix", [".trl", ".TRL"])
def test_names_of_a_gis_label_map(tmp_path, suffix):
    codes = np.array([[0, 1, 2], [3, 4, 4]], np.uint8)
    write_gis(tmp_path / "truth.GIS", codes)
    (tmp_path / f"truth{suffix}").write_bytes(trailer(NAMES))
    found, legend = open_labels(tmp_path / "truth.GIS", Grid(2, 3))
    np.testing.assert_array_equal(found, codes)
    named = dict(zip(legend.codes, legend.names, strict=True))
    assert named == {1: NAMES[1], 2: "Hay?", 3: "Class 3", 4: "Grass/Trees"}


@pytest.mark.parametrize(
    "content", [b"", b"TRAIL74", trailer(NAMES, b"NOTHING"), trailer(["", "a\x07b"])]
)
def test_what_is_no_trailer_names_nothing(tmp_path, content):
    path = tmp_path / "truth.GIS"
    assert read_names(path) == {}
    path.with_suffix(".trl").write_bytes(content)
    assert read_names(path) == {}
