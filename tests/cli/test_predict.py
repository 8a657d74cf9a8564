"""``hypercover predict``: sizes, layers and what is refused."""

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from hypercover.cli.sizes import bytes_of
from hypercover.errors import CallError

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "GiB": 2**30}


@given(number=st.integers(1, 10**6), unit=st.sampled_from(sorted(UNITS)))
def test_sizes_are_read_as_they_are_written(number, unit):
    assert bytes_of(f"{number}{unit}") == number * UNITS[unit]
    assert bytes_of(f" {number} {unit.lower()}") == number * UNITS[unit]


@pytest.mark.parametrize(
    "text", ["", "2", "2G", "GiB", "-1GB", "0MB", "1e3MB", "2 GiB!", "nanGB", "2GiB 3MB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(CallError, match="write it like 500MB or 2GiB"):
        bytes_of(text)


def test_a_map_is_predicted_within_the_memory(call, fields, trained, tmp_path):
    out, sure = tmp_path / "map.tif", tmp_path / "sure.tif"
    done = call("predict", trained, fields.image, "-o", out, "--confidence", sure,
                "--memory", "4GiB")  # fmt: skip
    assert (done.code, done.out) == (0, f"Map: {out}\nConfidence: {sure}\n")
    with rasterio.open(out) as raster:
        assert set(np.unique(raster.read(1))) <= {1, 2, 3}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--memory", "much"], "A size of memory is a number above 0 and a unit"),
        (["--memory", "1MB"], "allow more"),
        (["--entropy", "e.tif"], "A map of entropy was asked for"),
        (["--probabilities", "p.tif"], "A map of probabilities was asked for"),
        (["--probabilities", "map.tiff"], "give each a name of its own"),
        (["--entropy", "e.png"], "give it the suffix .tif"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(
    call, fields, trained, tmp_path, monkeypatch, options, said
):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    told = call("predict", trained, fields.image, "-o", "map.tif", *options)
    assert said in told.sentence
    assert set(tmp_path.iterdir()) == before


def test_the_image_is_not_written_over_by_any_map(call, fields, trained, tmp_path):
    told = call("predict", trained, fields.image, "-o", tmp_path / "m.tif",
                "--entropy", fields.image)  # fmt: skip
    assert "would destroy" in told.sentence
