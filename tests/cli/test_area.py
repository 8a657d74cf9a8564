"""``hypercover area``: a table, a file, and a sentence for what cannot be estimated."""

import csv

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio.crs import CRS

from hypercover.gis.map_writing import write_class_map
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

LEGEND = Legend.of({1: "corn, late", 2: "woods"})
PLACE = (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_500_000.0)


def written(path, codes, crs=32616, place=PLACE, **options):
    wkt = None if crs is None else CRS.from_epsg(crs).to_wkt()
    place = place if crs else Grid(1, 1).transform
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
    low, overall, high = (
        float(rows[0][f"overall_{end}"]) for end in ("lower", "accuracy", "upper")
    )
    assert f"Overall accuracy, adjusted for areas: {100 * overall:.1f} " in ended.out
    assert f"[{100 * low:.1f}, {100 * high:.1f}] %" in ended.out
    half = 1.96 * float(rows[0]["overall_standard_error"])
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert [row["name"] for row in rows] == ["corn, late", "woods"]
    assert [float(row["mapped_area"]) for row in rows] == [54.0, 54.0]
    assert sum(float(row["area"]) for row in rows) == pytest.approx(108)
    for row in rows:
        assert row["unit"] == "hectares"
        assert float(row["area_lower"]) < float(row["area"]) < float(row["area_upper"])
        half = (float(row["area_upper"]) - float(row["area_lower"])) / 2
        assert half == pytest.approx(1.96 * float(row["area_standard_error"]), rel=0.1)


def test_areas_in_pixels_where_the_map_does_not_say_where_it_lies(call, tmp_path, land):
    mapped, reference = land
    files = [
        written(tmp_path / name, codes, None)
        for name, codes in (("map.tif", mapped), ("s.tif", reference))
    ]
    ended = call("area", files[0], "-r", files[1], "--design", "simple")
    assert ended.code == 0
    assert "areas in pixels, accuracies in %" in ended.out


def test_strata_of_another_raster(call, tmp_path, land):
    mapped, reference = land
    strata = 1 + (np.arange(30)[:, None] > 14) + 0 * mapped
    files = {
        name: written(tmp_path / name, codes)
        for name, codes in (
            ("map.tif", mapped),
            ("s.tif", reference),
            ("strata.tif", strata),
        )
    }
    ended = call(
        "area", files["map.tif"], "-r", files["s.tif"], "--strata", files["strata.tif"]
    )
    assert ended.code == 0
    ended = call(
        "area",
        files["map.tif"],
        "-r",
        files["s.tif"],
        "--design",
        "simple",
        "--strata",
        files["strata.tif"],
    )
    assert "has no strata" in ended.sentence


def two_layers(path):
    """Write halves of the map as two layers, with two attributes each."""
    west, north = PLACE[2], PLACE[5]
    halves = [
        shapely.box(west + 30 * left, north - 900, west + 30 * (left + 20), north)
        for left in (0, 20)
    ]
    for layer, codes in (("parts", [1, 2]), ("other", [1, 1])):
        pyogrio.raw.write(
            path,
            shapely.to_wkb(halves),
            [np.array(codes), np.array([7, 7])],
            ["part", "id2"],
            crs="EPSG:32616",
            geometry_type="Polygon",
            layer=layer,
            append=path.exists(),
        )
    return path


def test_strata_and_areas_in_one_of_several_layers(call, tmp_path, land):
    mapped, reference = land
    files = [
        written(tmp_path / name, codes)
        for name, codes in (("map.tif", mapped), ("s.tif", reference))
    ]
    layers = two_layers(tmp_path / "two.gpkg")
    words = ("area", files[0], "-r", files[1], "--strata", layers)
    told = call(*words).sentence
    assert "2 layers with shapes; choose one with --strata-layer NAME" in told
    assert "--label-layer" not in told
    told = call(*words, "--strata-layer", "parts").sentence
    assert "name it with --strata-field NAME, one of: part, id2" in told
    ended = call(*words, "--strata-layer", "parts", "--strata-field", "part")
    assert ended.code == 0
    within = ("export", files[0], "-o", tmp_path / "part.tif", "--within", layers)
    assert "with --within-layer NAME: parts, other" in call(*within).sentence
    assert call(*within, "--within-layer", "parts").code == 0
    clip = ("clip", files[0], layers, "-o", tmp_path / "clip.tif")
    assert "with --area-layer NAME: parts, other" in call(*clip).sentence
    assert call(*clip, "--area-layer", "other").code == 0


def test_what_gives_no_area_is_said_in_a_sentence(call, tmp_path, land):
    mapped, reference = land
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


def test_a_map_in_degrees_has_the_area_that_its_pixels_have_on_the_ground(
    call, tmp_path, land
):
    """A strip from 40° to 70° north: a pixel of the last row has half the area of the first."""
    mapped, _ = land
    wide = (0.5, 0.0, 10.0, 0.0, -1.0, 70.0)
    map_file = written(tmp_path / "map.tif", mapped, 4326, wide)
    rng = np.random.default_rng(3)
    sample = np.where(rng.random(mapped.shape) < 0.3, mapped, 0)
    reference = written(tmp_path / "s.tif", sample, 4326, wide)
    ended = call("area", map_file, "-r", reference, "-o", tmp_path / "areas.csv")
    assert ended.code == 0
    rows = list(csv.DictReader((tmp_path / "areas.csv").open()))
    # Two halves of 10° of longitude each, on the sphere of the same area as the ellipsoid.
    each = np.radians(10) * 6371.0072**2 * (np.sin(np.radians(70)) - np.sin(np.radians(40)))
    for row in rows:
        assert float(row["mapped_area"]) == pytest.approx(100 * each, rel=5e-3)
        assert float(row["area"]) == pytest.approx(100 * each, rel=5e-3)
