"""``hypercover area``: a table, a file, and a sentence for what cannot be estimated."""

import csv

import numpy as np
import pytest
from rasterio.crs import CRS

from hypercover.maps.export import write_class_map
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

LEGEND = Legend.of({1: "corn, late", 2: "woods"})
PLACE = (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_500_000.0)


def written(path, codes, crs=32616, **options):
    wkt = None if crs is None else CRS.from_epsg(crs).to_wkt()
    place = PLACE if crs else Grid(1, 1).transform
    write_class_map(path, codes, LEGEND, Grid(*codes.shape, wkt, place), **options)
    return path


@pytest.fixture
def land():
    """A map, and a stratified sample of its truth: half of each class moves by two columns."""
    mapped = np.repeat([[1, 2]], 20, axis=1).repeat(30, axis=0)
    sample = np.random.default_rng(0).random(mapped.shape) < 0.2
    return mapped, np.where(sample, np.roll(mapped, 2, axis=1), 0)


def test_areas_in_hectares_on_stdout_and_in_a_file(call, tmp_path, land):
    mapped, reference = land
    map_file = written(tmp_path / "map.tif", mapped, simulated=True)
    sample = written(tmp_path / "sample.tif", reference)
    ended = call("area", map_file, "-r", sample, "-o", tmp_path / "areas.csv")
    assert ended.code == 0
    assert "areas in hectares, accuracies in % (simulated scene)" in ended.out
    assert "hold only if the reference is a probability sample" in ended.out
    rows = list(csv.DictReader((tmp_path / "areas.csv").open()))
    assert all(None not in row and None not in row.values() for row in rows)
    overall = float(rows[0]["overall_accuracy"])
    half = 1.96 * float(rows[0]["overall_standard_error"])
    assert float(rows[0]["overall_lower"]) == pytest.approx(overall - half, abs=1e-4)
    assert float(rows[0]["overall_upper"]) == pytest.approx(overall + half, abs=1e-4)
    assert [row["name"] for row in rows] == ["corn, late", "woods"]
    assert [float(row["mapped_area"]) for row in rows] == [54.0, 54.0]
    assert sum(float(row["area"]) for row in rows) == pytest.approx(108)
    for row in rows:
        assert row["unit"] == "hectares"
        assert float(row["area_lower"]) < float(row["area"]) < float(row["area_upper"])
        half = 1.959964 * float(row["area_standard_error"])
        assert float(row["area_upper"]) - float(row["area"]) == pytest.approx(
            half, rel=1e-5
        )


def test_areas_in_pixels_where_the_map_does_not_say_where_it_lies(call, tmp_path, land):
    mapped, reference = land
    files = [written(tmp_path / name, codes, None)
             for name, codes in (("map.tif", mapped), ("s.tif", reference))]  # fmt: skip
    ended = call("area", files[0], "-r", files[1], "--design", "simple")
    assert ended.code == 0
    assert "areas in pixels, accuracies in %" in ended.out


def test_strata_of_another_raster(call, tmp_path, land):
    mapped, reference = land
    strata = 1 + (np.arange(30)[:, None] > 14) + 0 * mapped
    files = {name: written(tmp_path / name, codes) for name, codes in
             (("map.tif", mapped), ("s.tif", reference), ("strata.tif", strata))}  # fmt: skip
    ended = call(
        "area", files["map.tif"], "-r", files["s.tif"], "--strata", files["strata.tif"]
    )
    assert ended.code == 0
    ended = call("area", files["map.tif"], "-r", files["s.tif"], "--design", "simple",
                 "--strata", files["strata.tif"])  # fmt: skip
    assert "has no strata" in ended.sentence


def test_what_gives_no_area_is_said_in_a_sentence(call, tmp_path, land):
    mapped, reference = land
    sample = written(tmp_path / "s.tif", reference, 4326)
    degrees = written(tmp_path / "degrees.tif", mapped, 4326)
    assert "pixels differ in area" in call("area", degrees, "-r", sample).sentence
    plain = written(tmp_path / "map.tif", mapped)
    few = written(
        tmp_path / "few.tif", np.where(reference == 2, 0, reference) * (mapped == 1)
    )
    out = tmp_path / "areas.csv"
    assert "holds 0 reference pixels" in call("area", plain, "-r", few, "-o", out).sentence
    assert not out.exists()
    assert "gone.tif" in call("area", plain, "-r", tmp_path / "gone.tif").sentence
    assert call("area", plain, "-r", few, "-o", plain).sentence
    other = written(tmp_path / "other.tif", mapped)
    before = other.read_bytes()
    assert "end its name in .csv" in call("area", plain, "-r", few, "-o", other).sentence
    assert other.read_bytes() == before
