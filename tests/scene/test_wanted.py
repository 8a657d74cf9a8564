"""What is taken for the label map of a scene."""

import numpy as np
import pytest
from scipy.io import loadmat

from hypercover.scene.grid import Grid
from hypercover.scene.reading import open_labels
from hypercover.scene.wanted import WANTED


def map_of(counts, shape):
    labels = np.zeros(shape, np.uint8)
    labels.flat[: sum(counts)] = np.repeat(np.arange(1, len(counts) + 1), counts)
    return labels


def test_the_two_maps_of_indian_pines_and_no_other(data_folder):
    wanted = WANTED["indian-pines"]
    folder = data_folder / "indian_pines"
    ranks = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".tif", ".GIS") or path.name in (
            "Indian_pines_gt.mat",
            "indianpines_disjoint_dset.mat",
        ):
            fit = wanted.fit(open_labels(path, Grid(145, 145))[0])
            ranks[path.name] = fit and fit.rank
    assert ranks == {
        "19920612_AVIRIS_IndianPine_Site3_gr.tif": 1,
        "92AV3GT.GIS": 1,
        "IndianTE123_temp123.tif": None,
        "IndianTR123_temp123.tif": None,
        "Indian_pines_gt.mat": 0,
        "indianpines_disjoint_dset.mat": None,
    }


def test_a_map_with_rows_and_columns_swapped_is_not_taken(data_folder):
    labels = loadmat(data_folder / "indian_pines/Indian_pines_gt.mat")["indian_pines_gt"]
    fit = WANTED["indian-pines"].fit
    assert fit(labels) is not None
    assert fit(labels.T) is None
    assert fit(labels[:, ::-1]) is None


def test_rome_is_known_by_the_pixels_of_its_nine_classes():
    counts = [18126, 10982, 16353, 1606, 6962, 9088, 8127, 1506, 4792]
    tests = [163129, 98834, 147176, 14454, 62655, 81792, 73144, 13551, 43124]
    whole = [train + test for train, test in zip(counts, tests, strict=True)]
    fit = WANTED["rome"].fit
    assert "775,401" in fit(map_of(whole, (900, 900))).title
    assert fit(map_of(counts, (900, 900))) is None


@pytest.mark.parametrize(
    ("classes", "pixels", "rank"),
    [
        (58, 334_245, 0),
        (58, 334_244, 1),
        (52, 333_951, 1),
        (39, 39_000, None),
        (65, 65_000, None),
    ],
)
def test_the_full_scene_needs_about_as_many_classes(classes, pixels, rank):
    counts = [pixels // classes] * (classes - 1)
    labels = map_of([*counts, pixels - sum(counts)], (1417, 617))
    fit = WANTED["indian-pines-full"].fit(labels)
    assert (fit and fit.rank) == rank


@pytest.mark.parametrize(
    ("key", "shape", "suits"),
    [
        ("indian-pines", (145, 145, 200), True),
        ("indian-pines", (145, 145, 220), True),
        ("indian-pines", (145, 145, 103), False),
        ("indian-pines", (145, 146, 200), False),
        ("indian-pines-full", (1417, 617, 220), True),
        ("indian-pines-full", (2678, 614, 220), True),
        ("indian-pines-full", (145, 145, 220), False),
        ("rome", (31, 77, 5), True),
        ("rome", (31, 77, 4), False),
    ],
)
def test_sizes(key, shape, suits):
    assert WANTED[key].suits(*shape) is suits
