"""Attribute profiles: what holds for every image, what is refused, what is kept."""

import json
import threading

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from hypercover.errors import CallError, ModelError, SceneError
from hypercover.features import feature
from hypercover.features.chain import ROME_AREAS, Chain
from hypercover.features.profiles import AttributeProfiles
from hypercover.features.tree_of_shapes import (
    ATTRIBUTES,
    RULES,
    ShapeTree,
    border_median,
    regularised,
)
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.scene import Scene

ROWS, COLS = 41, 58
THRESHOLD = {"area": 25, "std": 0.05, "inertia": 0.25}


def scene_of(bands, **coords):
    cube = xr.DataArray(np.asarray(bands), dims=("band", "y", "x"), coords=coords)
    return Scene(cube, name="here")


def grey(kind):
    """Images that trees of shapes have gone wrong on, none of them square."""
    rng = np.random.default_rng(3)
    smooth = gaussian_filter(rng.normal(size=(ROWS, COLS)), 1.5)
    return {
        "smooth": smooth,
        "noise": rng.normal(size=(ROWS, COLS)),
        "few levels": np.round(smooth * 12) / 8,
        "checkered": np.add.outer(np.arange(ROWS), np.arange(COLS)) % 2 + 0.0,
        "bytes": np.round(smooth * 400) + 200,
        "constant": np.full((ROWS, COLS), 7.0),
        "one row": smooth[:1],
        "one column": smooth[:, :1],
        "one pixel": smooth[:1, :1],
    }[kind]


KINDS = ["smooth", "noise", "few levels", "checkered", "bytes", "constant"]
KINDS += ["one row", "one column", "one pixel"]
TURNS = {
    "upside down": np.flipud,
    "mirrored": np.fliplr,
    "quarter turn": np.rot90,
    "transposed": np.transpose,
}


def filtered(band, name="area", threshold=None, rule="direct", **how):
    shapes = ShapeTree.of(band, **how)
    values = regularised(shapes, ATTRIBUTES[name](shapes), rule)
    limit = THRESHOLD[name] if threshold is None else threshold
    return shapes.filtered(values < limit, subtractive=rule == "subtractive")


def zones(band):
    """Borders between neighbours that differ, across and down."""
    return np.diff(band, axis=1) != 0, np.diff(band, axis=0) != 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_a_band_and_its_negative_are_filtered_alike(kind, name, rule):
    band = grey(kind)
    np.testing.assert_array_equal(
        filtered(-band, name, rule=rule), -filtered(band, name, rule=rule)
    )


@pytest.mark.parametrize("turn", list(TURNS))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_it_does_not_matter_which_way_up_a_band_is(kind, turn, name, rule):
    band, turned = grey(kind), TURNS[turn]
    np.testing.assert_array_equal(
        filtered(turned(band), name, rule=rule), turned(filtered(band, name, rule=rule))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_area_filter_done_twice_is_done_once(kind):
    band = grey(kind)
    around = border_median(band, np.ones(band.shape, dtype=bool))
    once = filtered(band, surround=around)
    np.testing.assert_array_equal(filtered(once, surround=around), once)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_no_threshold_changes_nothing(kind, name, rule):
    band = grey(kind)
    np.testing.assert_array_equal(filtered(band, name, 0.0, rule), band)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_flat_zones_only_merge(kind, name, rule):
    band = grey(kind)
    for before, after in zip(
        zones(band), zones(filtered(band, name, rule=rule)), strict=True
    ):
        assert not (after & ~before).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_area_undoes_a_smaller_one(kind):
    band = grey(kind)
    around = border_median(band, np.ones(band.shape, dtype=bool))
    coarse = filtered(band, threshold=60, surround=around)
    twice = filtered(filtered(band, surround=around), threshold=60, surround=around)
    np.testing.assert_array_equal(twice, coarse)
    for fine, rough in zip(zones(filtered(band)), zones(coarse), strict=True):
        assert not (rough & ~fine).any()


@pytest.mark.parametrize("kind", KINDS)
def test_all_rules_are_one_for_an_attribute_that_grows_with_the_shape(kind):
    direct, *others = (filtered(grey(kind), rule=rule) for rule in RULES)
    for other in others:
        np.testing.assert_allclose(other, direct, atol=1e-12)


def test_a_bright_and_a_dark_square_go_at_their_own_area():
    band = np.full((20, 24), 5.0)
    band[2:5, 3:6], band[10:15, 12:17] = 9.0, 1.0
    stack = (
        AttributeProfiles(thresholds=[9, 10, 26])
        .fit(scene_of([band]))
        .transform(scene_of([band]))
    )
    same, at_9, at_10, at_26 = stack.cube.values
    np.testing.assert_array_equal(same, band)
    np.testing.assert_array_equal(at_9, band)
    np.testing.assert_array_equal(at_10, np.where(band == 9, 5, band))
    np.testing.assert_array_equal(at_26, np.full(band.shape, 5))


def test_attributes_of_a_square_a_bar_and_a_patchwork_are_known():
    band = np.zeros((30, 30))
    band[2:6, 2:6], band[10:12, 2:18], band[20:22, 20:22] = 1.0, 2.0, [[3, 5], [5, 3]]
    shapes = ShapeTree.of(band)
    at = {place: shapes.own[place] for place in [(2, 2), (10, 2)]}
    area, std, inertia = (ATTRIBUTES[name](shapes) for name in ATTRIBUTES)
    assert [area[node] for node in at.values()] == [16, 32]
    assert [std[node] for node in at.values()] == [0, 0]
    # Points of an a × b grid: (a² - 1 + b² - 1) / 12 each, over a · b.
    np.testing.assert_allclose(
        [inertia[node] for node in at.values()], [30 / 192, 258 / 384]
    )
    patch = shapes.own[20, 20]
    around = shapes.parents[patch] if area[patch] < 4 else patch
    assert area[around] == 4
    assert std[around] == pytest.approx(1.0)


def test_a_flat_shape_deviates_by_nothing_at_all():
    band = np.zeros((60, 60))
    values = np.random.default_rng(0).normal(size=(10, 10))
    for row, col in np.ndindex(10, 10):
        band[6 * row + 1 : 6 * row + 4, 6 * col + 1 : 6 * col + 6] = values[row, col]
    shapes = ShapeTree.of(band)
    assert (ATTRIBUTES["std"](shapes)[shapes.inner] == 0).all()


def test_a_large_disc_has_the_least_inertia_there_is():
    rows, cols = np.mgrid[:120, :120] - 59.5
    disc = (rows**2 + cols**2 < 50**2) + 0.0
    assert (filtered(disc, "inertia", 0.159) == disc).all()
    assert (filtered(disc, "inertia", 0.1593) == 0).all()


def test_the_level_around_a_band_is_the_median_of_its_edge():
    band = np.arange(12.0).reshape(3, 4)
    assert border_median(band, np.ones((3, 4), dtype=bool)) == np.median(
        np.delete(band.ravel(), [5, 6])
    )
    valid = np.ones((5, 5), dtype=bool)
    valid[0] = valid[:, 0] = False
    inner = np.arange(25.0).reshape(5, 5)
    assert border_median(inner, valid) == border_median(inner[1:, 1:], valid[1:, 1:])


def test_pixels_without_data_stay_without_and_count_nowhere():
    band = np.full((1, 12, 12), 2.0)
    band[0, 4:8, 4:8], band[0, 5, 5], band[0, :2] = 6.0, np.nan, np.nan
    stack = (
        AttributeProfiles(thresholds=[15, 16]).fit(scene_of(band)).transform(scene_of(band))
    )
    nan = np.isnan(band[0])
    assert (np.isnan(stack.cube.values) == nan).all()
    same, at_15, at_16 = stack.cube.values[:, ~nan]
    np.testing.assert_array_equal(same, band[0][~nan])
    np.testing.assert_array_equal(at_15, same)
    np.testing.assert_array_equal(at_16, np.full(same.shape, 2))


def test_no_value_where_there_is_no_data_matters():
    rng = np.random.default_rng(0)
    bands = rng.random((2, 20, 25)) + 1
    bands[0, 5:9, 5:9] = np.nan
    other = bands.copy()
    other[1, 5:9, 5:9] = 1e9
    made = [
        AttributeProfiles("area+std+inertia")
        .fit(scene_of(one))
        .transform(scene_of(one))
        .cube.values
        for one in (bands, other)
    ]
    np.testing.assert_array_equal(*made)


def test_each_band_comes_once_and_then_every_filter_of_every_attribute():
    scene = scene_of(np.random.default_rng(0).random((2, 9, 8)) + 1, band=[4, 7])
    stack = AttributeProfiles("area+std", thresholds={"area": [2, 4.5], "std": [0.25]})
    made = stack.fit(scene).transform(scene)
    assert made.cube.band_name.values.tolist() == [
        *("band 4", "band 4 area<2", "band 4 area<4.5", "band 4 std<0.25"),
        *("band 7", "band 7 area<2", "band 7 area<4.5", "band 7 std<0.25"),
    ]
    assert made.cube.dtype == np.float32
    np.testing.assert_array_equal(
        made.cube.values[[0, 4]], scene.cube.values.astype(np.float32)
    )
    for place, band in enumerate(scene.cube.values):
        expected = [filtered(band, "area", 2), filtered(band, "area", 4.5)]
        expected.append(filtered(band, "std", 0.25))
        np.testing.assert_array_equal(
            made.cube.values[4 * place + 1 : 4 * place + 4], np.float32(expected)
        )


@pytest.mark.parametrize("rule", RULES)
def test_profiles_follow_their_rule(rule):
    bands = np.random.default_rng(0).random((1, 20, 25)) + 1
    profiles = AttributeProfiles("inertia", thresholds=[0.2], rule=rule).fit(
        scene_of(bands)
    )
    (_, made) = profiles.transform(scene_of(bands)).cube.values
    np.testing.assert_array_equal(
        made, np.float32(filtered(bands[0], "inertia", 0.2, rule))
    )
    others = [filtered(bands[0], "inertia", 0.2, other) for other in RULES if other != rule]
    assert all((np.float32(other) != made).any() for other in others)


def test_what_is_known_of_a_scene_stays():
    scene = scene_of(np.random.default_rng(0).random((1, 9, 8)) + 1)
    labels = np.ones((9, 8), dtype=np.uint8)
    scene = scene.with_labels(labels).noting("A note.")
    scene = scene.replace(cube=with_grid(scene.cube, Grid(9, 8, None, (2, 0, 5, 0, -2, 7))))
    made = AttributeProfiles(thresholds=[3]).fit(scene).transform(scene)
    assert made.grid == scene.grid
    assert made.labels is scene.labels
    assert (made.name, made.notes, made.legend) == (scene.name, scene.notes, scene.legend)
    assert "wavelength" not in made.cube.coords


def test_names_of_an_earlier_step_go_on():
    scene = scene_of(np.random.default_rng(0).random((5, 9, 8)) + 1)
    chain = Chain.parse("pca:2,esdap:area=3+std=0.5")
    assert chain.fit_transform(scene).cube.band_name.values.tolist() == [
        *("pca1", "pca1 area<3", "pca1 std<0.5"),
        *("pca2", "pca2 area<3", "pca2 std<0.5"),
    ]
    assert chain.reach is None


def test_the_rome_chain_makes_55_features_of_5_bands():
    scene = scene_of(np.random.default_rng(0).random((5, 9, 8)) + 1)
    names = Chain.parse("rome").fit_transform(scene).cube.band_name.values
    assert len(names) == 55
    assert names[10] == "band 1 area<16667"
    assert ROME_AREAS[0] == 1667


def test_another_scene_gets_the_thresholds_of_the_first():
    rng = np.random.default_rng(0)
    first, second = (scene_of(rng.random((2, 15, 16)) + scale) for scale in (1, 5))
    profiles = AttributeProfiles("area+std", thresholds="automatic", count=3).fit(first)
    here, there = profiles.transform(first), profiles.transform(second)
    assert here.cube.band_name.values.tolist() == there.cube.band_name.values.tolist()
    alone = AttributeProfiles("area+std", thresholds="automatic", count=3).fit(second)
    assert alone.thresholds_ != profiles.thresholds_


@pytest.mark.parametrize("thresholds", [None, "automatic", {"std": [0.1, 0.2]}])
def test_a_saved_profile_makes_the_same_features(thresholds):
    scene = scene_of(np.random.default_rng(0).random((2, 15, 16)) + 1)
    profiles = AttributeProfiles(
        "area+std", thresholds, count=4, rule="max", resolution=100
    )
    made = profiles.fit(scene).transform(scene)
    settings, arrays = profiles.state()
    again = AttributeProfiles.from_state(json.loads(json.dumps(settings)), arrays)
    xr.testing.assert_identical(again.transform(scene).cube, made.cube)
    assert again.state() == (settings, arrays)


def test_a_constant_band_is_only_itself_where_thresholds_are_its_own():
    bands = np.stack([np.full((9, 8), 3.0), np.random.default_rng(0).random((9, 8))])
    profiles = AttributeProfiles("std=formula+inertia=automatic").fit(scene_of(bands))
    assert [len(own["std"]) for own in profiles.thresholds_] == [0, 11]
    assert profiles.thresholds_[0]["inertia"] == ()
    names = profiles.transform(scene_of(bands)).cube.band_name.values.tolist()
    assert names[:2] == ["band 1", "band 2"]


def test_areas_taken_for_an_unknown_pixel_size_are_said():
    scene = scene_of(np.random.default_rng(0).random((1, 9, 8)) + 1)
    made = AttributeProfiles().fit(scene).transform(scene)
    assert made.notes[-1].startswith("The pixel size is unknown")
    assert made.cube.band_name.values[1] == "band 1 area<50"
    assert AttributeProfiles(resolution=20).fit(scene).transform(scene).notes == ()


def test_the_size_of_a_pixel_is_read_from_the_image():
    scene = scene_of(np.random.default_rng(0).random((1, 9, 8)) + 1)
    grid = Grid(9, 8, "EPSG:32616", (10.0, 0.0, 5e5, 0.0, -10.0, 4e6))
    placed = scene.replace(cube=with_grid(scene.cube, grid))
    made = AttributeProfiles("area", "formula").fit(placed).transform(placed)
    assert made.cube.band_name.values[[1, 14]].tolist() == [
        "band 1 area<100",
        "band 1 area<1400",
    ]


def test_threads_change_nothing():
    scene = scene_of(np.random.default_rng(0).random((5, 30, 31)) + 1)
    one, four = (
        AttributeProfiles("area+std", "automatic", n_jobs=jobs)
        .fit(scene)
        .transform(scene)
        .cube
        for jobs in (1, 4)
    )
    xr.testing.assert_identical(one, four)


def test_progress_rises_to_the_whole():
    scene = scene_of(np.random.default_rng(0).random((3, 9, 8)) + 1)
    said = []
    profiles = AttributeProfiles(thresholds=[2, 3], n_jobs=2).fit(scene)
    profiles.transform(scene, progress=lambda done, total: said.append((done, total)))
    done, total = zip(*said, strict=True)
    assert len(set(total)) == 1
    assert list(done) == sorted(done)
    assert done[-1] == total[0]


def test_memory_bounds_how_many_bands_are_worked_on_at_once(monkeypatch):
    scene = scene_of(np.ones((8, 98, 98)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(feature, "available_bytes", lambda: 4_000_000)
    assert feature.parallel_bands(scene, 100, 8) == 3
    assert feature.parallel_bands(scene, 10, 8) == 8
    assert feature.parallel_bands(scene, 10, 99) == 8
    monkeypatch.setattr(feature, "available_bytes", lambda: 1_000_000)
    with pytest.raises(SceneError, match="GiB of memory"):
        feature.parallel_bands(scene, 100)


def test_pinned_threads_are_heeded(monkeypatch):
    scene = scene_of(np.ones((8, 9, 9)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert feature.parallel_bands(scene, 10) == 1


def test_a_failure_in_one_band_is_the_failure():
    scene = scene_of(np.ones((6, 4, 4)))
    started, lock = [], threading.Lock()

    def work(position, band):
        with lock:
            started.append(position)
        if position == 1:
            raise SceneError("The second band is broken.")

    with pytest.raises(SceneError, match="second band"):
        feature.map_bands(scene, work, 2)
    assert 1 in started


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"attributes": "volume"}, "Unknown attribute 'volume'"),
        ({"attributes": "area+area"}, "given twice"),
        ({"attributes": []}, "need an attribute"),
        (
            {"attributes": ["area", "std"], "thresholds": [1, 2]},
            "cannot serve area and std",
        ),
        ({"thresholds": [50, 20]}, "must increase, got 20 after 50"),
        ({"thresholds": [50, 50]}, "must increase"),
        ({"thresholds": [0, 50]}, "numbers above 0, got 0"),
        ({"thresholds": [-1]}, "numbers above 0"),
        ({"thresholds": [float("nan")]}, "numbers above 0"),
        ({"thresholds": [float("inf")]}, "numbers above 0"),
        ({"thresholds": [10**400]}, "numbers above 0"),
        ({"resolution": 10**400}, "resolution must be the pixel size in m"),
        ({"thresholds": ["5"]}, "numbers above 0"),
        ({"thresholds": [True]}, "numbers above 0"),
        ({"thresholds": []}, "1 to 1000 thresholds, got 0"),
        ({"thresholds": range(1, 2000)}, "1 to 1000 thresholds, got 1999"),
        ({"thresholds": "best"}, "list of numbers or one of formula"),
        ({"thresholds": 50}, "list of numbers or one of formula"),
        ({"attributes": "area=50/20"}, "must increase"),
        ({"attributes": "area=fine"}, "list of numbers or one of formula"),
        ({"thresholds": {"std": [1]}}, "given for 'std', but the attributes are area"),
        ({"count": 0}, "count of attribute profiles must be a whole number"),
        ({"count": 2.5}, "count of attribute profiles must be a whole number"),
        ({"n_jobs": -1}, "n_jobs of attribute profiles must be a whole number"),
        ({"rule": "viterbi"}, "rule of a profile must be one of direct"),
        ({"resolution": 0}, "resolution must be the pixel size in m"),
        ({"resolution": "10 m"}, "resolution must be the pixel size in m"),
    ],
)
def test_settings_that_mean_nothing_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(CallError, match=sentence) as caught:
        AttributeProfiles(**settings)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_scenes_that_cannot_be_profiled_are_refused():
    scene = scene_of(np.random.default_rng(0).random((2, 9, 8)) + 1)
    with pytest.raises(ModelError, match="call fit with a scene first"):
        AttributeProfiles().transform(scene)
    with pytest.raises(ModelError, match="fitted on 2 bands and here has 1"):
        AttributeProfiles().fit(scene).transform(scene_of(scene.cube.values[:1]))
    with pytest.raises(SceneError, match="No pixel of here holds data"):
        AttributeProfiles().fit(scene_of(np.full((1, 3, 3), np.nan)))
    with pytest.raises(SceneError, match="no georeference in m"):
        AttributeProfiles(thresholds="formula").fit(scene)


@pytest.mark.parametrize(
    "change",
    [
        {"attributes": ["volume"]},
        {"attributes": None},
        {"thresholds": [[1, 2], [3]]},
        {"thresholds": [{"area": 1}]},
        {"count": "many"},
        {"rule": ["direct"]},
        {"resolution": -1},
        {"resolution": 10**400},
        {"count": 10**400},
        {"chosen": [[[10**400]]]},
        {"chosen": []},
        {"chosen": 5},
        {"chosen": [[]]},
        {"chosen": [["formula"]]},
        {"chosen": [[None]]},
        {"chosen": [[[2, 1]]]},
        {"chosen": [[[float("nan")]]]},
        {"chosen": [[[1]]] * 70_000},
    ],
)
def test_a_damaged_state_is_refused(change):
    scene = scene_of(np.random.default_rng(0).random((1, 9, 8)) + 1)
    settings, arrays = AttributeProfiles(thresholds=[3]).fit(scene).state()
    with pytest.raises(ModelError, match="not readable"):
        AttributeProfiles.from_state(settings | change, arrays)
    name = next(iter(change))
    del settings[name]
    with pytest.raises(ModelError, match="not readable"):
        AttributeProfiles.from_state(settings, arrays)
