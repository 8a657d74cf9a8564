"""GeoJSON written shape by shape is what GDAL writes, in time that grows with the map."""

import json

import numpy as np
import pyogrio
import pytest
import shapely

from hypercover.maps.geojson import write_geojson

NAMES = ['Wälder "am" Hang\\', "2020-01-01", "Hay", "1999/01/01"]


def made(count, names):
    shapes = shapely.box(np.arange(count) + 0.1, 0, np.arange(count) + 1 / 3, 49.5)
    named = np.array([names[one % len(names)] for one in range(count)], object)
    codes = np.arange(count) % len(names)
    return shapes, {"class_id": codes, "class_name": named, "area": shapely.area(shapes)}


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:4258", "OGC:CRS84"])
def test_it_is_what_gdal_writes(crs, tmp_path):
    shapes, said = made(7, NAMES[:1])
    ours, theirs = tmp_path / "ours.geojson", tmp_path / "theirs.geojson"
    first = shapes[:3], {name: one[:3] for name, one in said.items()}
    rest = shapes[3:], {name: one[3:] for name, one in said.items()}
    write_geojson(ours, crs, iter([first, rest]))
    pyogrio.raw.write(
        theirs,
        geometry=shapely.to_wkb(shapes),
        field_data=list(said.values()),
        fields=list(said),
        geometry_type="Polygon",
        crs=crs,
        driver="GeoJSON",
    )
    read = [json.loads(file.read_text(encoding="utf-8")) for file in (ours, theirs)]
    assert read[0]["crs"] == read[1]["crs"]
    for one, other in zip(*(found["features"] for found in read), strict=True):
        assert one["properties"] == pytest.approx(other["properties"])
        assert one["geometry"]["type"] == other["geometry"]["type"]
        corners = [feature["geometry"]["coordinates"][0] for feature in (one, other)]
        np.testing.assert_allclose(*corners, rtol=1e-14)
    meta, _, wkb, columns = pyogrio.raw.read(ours)
    assert meta["fields"].tolist() == list(said)
    assert (shapely.from_wkb(wkb) == shapes).all()
    for column, expected in zip(columns, said.values(), strict=True):
        assert (column == expected).all()
    assert meta["crs"] == pyogrio.raw.read(theirs)[0]["crs"]


def test_a_name_that_looks_like_a_date_is_left_as_it_is(tmp_path):
    shapes, said = made(4, NAMES)
    parts = [
        (shapes[at : at + 1], {name: one[at : at + 1] for name, one in said.items()})
        for at in (1, 3, 2, 0)
    ]
    write_geojson(tmp_path / "m.geojson", "EPSG:32633", parts)
    found = json.loads((tmp_path / "m.geojson").read_text(encoding="utf-8"))["features"]
    names = [one["properties"]["class_name"] for one in found]
    assert names == [NAMES[at] for at in (1, 3, 2, 0)]
