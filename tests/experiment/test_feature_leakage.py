"""What features carry across a split is measured, said, and joined over seeds."""

import numpy as np
import pytest
import xarray as xr

from hypercover.evaluation.run_metrics import (
    FeatureLeakageMetrics,
    LeakageMetrics,
    ModelMetrics,
)
from hypercover.experiment.results.summary import average_seeds
from hypercover.experiment.tasks.trial import feature_leakage, mean_feature_leakage
from hypercover.features.chain import Chain
from hypercover.report.descriptions import describe_leakage
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split


@pytest.fixture
def striped():
    """A noisy scene with two flat stripes, and its profile by area."""
    chance = np.random.default_rng(0)
    band = np.repeat([10.0, 20.0], 4)[:, None].repeat(6, axis=1)
    band[1, 1], band[6, 3] = 12, 17
    cube = np.stack([chance.random((8, 6)), band])
    scene = Scene(xr.DataArray(cube, dims=("band", "y", "x")))
    chain = Chain.parse("esdap:area=5")
    return chain, chain.fit_transform(scene)


def test_shared_zones_of_connected_filters_are_measured(striped):
    chain, stack = striped
    train, test = np.zeros((8, 6)), np.zeros((8, 6))
    train[0, 0], test[3, 5], test[7, 5], test[1, 1] = 1, 1, 1, 1
    facts = feature_leakage(chain, stack, Split.from_parts(train=train, test=test))
    assert facts.reach is None
    assert facts.band == "band 2 area<5"
    assert facts.shared_zone == pytest.approx(2 / 3)
    # The noise shares nothing before it is filtered; "band 2" has lost one test pixel.
    assert facts.mean_zone == pytest.approx((0 + 1 / 3 + 1 / 3 + 2 / 3) / 4)
    assert "averaged over the features, 33.3 % of the test pixels" in facts.sentence
    assert "(band 2 area<5) 66.7 % are." in facts.sentence
    assert facts.chain == "esdap:area=5"


def test_spectral_features_reach_nowhere(striped):
    _, stack = striped
    split = Split.from_parts(train=np.eye(8, 6), test=1 - np.eye(8, 6))
    facts = feature_leakage(Chain.parse("kpca:5"), stack, split)
    assert facts.to_json() == {
        "chain": "kpca:5",
        "reach": 0,
        "shared_zone": None,
        "mean_zone": None,
        "band": None,
        "sentence": "The features kpca:5 were fitted on all pixels, without labels; they "
        "have no spatial reach.",
    }


def audit_of(share):
    return FeatureLeakageMetrics(
        chain="esdap:area",
        reach=None,
        band="band 1 area<9",
        shared_zone=share,
        mean_zone=share / 2,
        sentence=str(share),
    )


def test_seeds_are_joined_by_their_mean():
    joined = mean_feature_leakage([audit_of(0.2), audit_of(0.4)])
    assert joined.shared_zone == pytest.approx(0.3)
    assert joined.mean_zone == pytest.approx(0.15)
    assert "15.0 % of the test pixels" in joined.sentence


def test_a_share_is_never_rounded_to_none_or_all():
    assert "less than 0.1 %" in mean_feature_leakage([audit_of(1e-6)]).sentence
    assert "more than 99.9 %" in mean_feature_leakage([audit_of(0.99999)]).sentence
    assert " 100.0 %" in mean_feature_leakage([audit_of(1.0)]).sentence


def test_the_summary_of_seeds_keeps_what_features_carry():
    results = [
        ModelMetrics(leakage=LeakageMetrics(window=1, features=audit_of(share)))
        for share in (0.1, 0.3)
    ]
    joined = average_seeds(results, [0, 1]).leakage.features
    assert joined.shared_zone == pytest.approx(0.2)


def test_the_report_says_it_after_the_windows():
    facts = {"window": 9, "centre_in_window": 0.0, "window_overlap": 0.0}
    plain = describe_leakage(LeakageMetrics.model_validate(facts))
    words = describe_leakage(
        LeakageMetrics.model_validate(facts | {"features": audit_of(0.5)})
    )
    assert words == f"{plain} 0.5"
