"""The simulated Quickbird pair has the published counts and fits together."""

import numpy as np
import pytest

from hypercover.scene.simulation.city import (
    RATIO,
    ROME_COUNTS,
    lay_out_city,
    quickbird_pair,
)


def test_the_published_counts_are_those_of_the_tables():
    """77,542 training and 697,859 test pixels."""
    assert sum(ROME_COUNTS.values()) == 77_542 + 697_859
    train = [18126, 10982, 16353, 1606, 6962, 9088, 8127, 1506, 4792]
    test = [163129, 98834, 147176, 14454, 62655, 81792, 73144, 13551, 43124]
    both = [one + other for one, other in zip(train, test, strict=True)]
    assert list(ROME_COUNTS.values()) == both


def test_every_class_is_labelled_as_often_as_asked():
    counts = {name: number // 16 for name, number in ROME_COUNTS.items()}
    pair = quickbird_pair(320, 320, 1, counts)
    found = np.bincount(pair.pan.labels.ravel(), minlength=10)[1:]
    wanted = list(counts.values())
    assert (found <= wanted).all()
    assert found.sum() >= 0.95 * sum(wanted)
    city = lay_out_city(320, 320, np.random.default_rng([1, 0]))
    marked = pair.pan.labels > 0
    assert (pair.pan.labels[marked] == city.cover[marked]).all()


def test_the_same_seed_gives_the_same_pixels_however_they_are_cut():
    pair, again = (quickbird_pair(192, 160, 7) for _ in range(2))
    for name in ("pan", "bands"):
        whole = getattr(pair, name).cube.values
        rows = [
            getattr(again, name).cube[:, row : row + 5].values
            for row in range(0, whole.shape[1], 5)
        ]
        assert (np.concatenate(rows, axis=1) == whole).all()
    other = quickbird_pair(192, 160, 8)
    assert (other.pan.cube.values != pair.pan.cube.values).any()


def test_bands_are_means_of_what_the_grey_image_sees():
    pair = quickbird_pair(192, 160, 7)
    grey = pair.pan.cube.values[0].astype(float)
    means = grey.reshape(48, RATIO, 40, RATIO).mean(axis=(1, 3))
    mixed = np.tensordot([0.15, 0.25, 0.25, 0.35], pair.bands.cube.values.astype(float), 1)
    assert means == pytest.approx(mixed, abs=25)
