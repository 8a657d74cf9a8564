"""Attribute profiles of real scenes."""

import numpy as np
import pytest
import xarray as xr

from hypercover.features.chain import Chain
from hypercover.features.profiles import AttributeProfiles
from hypercover.scene.io.reading import open_scene
from hypercover.scene.scene import Scene


@pytest.fixture(scope="module")
def salinas(data_folder):
    scene = open_scene(data_folder / "salinas_a" / "SalinasA_corrected.mat").load()
    return scene.take_bands([20, 100, 180])


def profiled(values):
    scene = Scene(xr.DataArray(values, dims=("band", "y", "x")))
    return (
        AttributeProfiles("area=20/200+std=5/40+inertia=0.2/0.4")
        .fit(scene)
        .transform(scene)
    )


def test_a_real_scene_is_profiled_alike_as_a_negative_and_turned(salinas):
    values = salinas.cube.values.astype(np.int32)
    made = profiled(values).cube.values
    negative = profiled(20_000 - values).cube.values
    np.testing.assert_array_equal(20_000 - negative, made)
    turned = profiled(np.rot90(values, axes=(1, 2))).cube.values
    np.testing.assert_array_equal(np.rot90(turned, -1, axes=(1, 2)), made)


def test_fields_get_simpler_with_every_threshold(salinas):
    made = AttributeProfiles("area=10/100/1000").fit(salinas).transform(salinas).cube.values
    for band in range(salinas.n_bands):
        images = made[4 * band : 4 * band + 4]
        borders = [int((np.diff(image, axis=1) != 0).sum()) for image in images]
        assert borders == sorted(borders, reverse=True)
        assert borders[-1] < borders[0] / 2


def test_automatic_thresholds_of_components_are_as_many_as_asked(salinas):
    chain = Chain.parse(
        [
            "pca:2",
            {
                "esdap": {
                    "attributes": ["area", "std"],
                    "thresholds": "automatic",
                    "count": 5,
                }
            },
        ]
    )
    made = chain.fit_transform(salinas)
    assert made.n_bands == 2 * (1 + 5 + 5)
    assert np.isfinite(made.cube.values).all()
