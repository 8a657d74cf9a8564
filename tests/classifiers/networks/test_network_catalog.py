"""The catalog of networks: one's own are registered, or offered by an installed package."""

import numpy as np
import pytest
from torch import nn

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.networks.default import DefaultNetwork
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.network_catalog import (
    MAX_WINDOW,
    NETWORKS,
    build,
    get_network,
    register,
)
from hypercover.errors import ModelError

SOURCE = """
import torch
from torch import nn

from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe


class Plain(Network):
    recipe = Recipe("adamw", 0.01, "constant", "cross-entropy", 8, 20)

    def __init__(self, bands, classes, window):
        super().__init__(bands, classes, window)
        self.only = nn.Conv2d(bands, classes, window)

    def reset(self, generator):
        nn.init.normal_(self.only.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.only.bias)

    def forward(self, windows):
        return self.only(windows)
"""


@pytest.fixture(autouse=True)
def _catalog_as_it_was():
    before = dict(NETWORKS)
    yield
    NETWORKS.clear()
    NETWORKS.update(before)


def own_network():
    namespace = {}
    exec(SOURCE, namespace)
    return namespace["Plain"]


def trained(name):
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 2
    windows = rng.normal(size=(30, 4, 3, 3)) + 3 * labels[:, None, None, None]
    model = CNNClassifier(name, random_state=0, device="cpu").fit(windows, labels)
    assert (model.predict(windows) == labels).all()
    return model, windows


def test_a_registered_network_trains_predicts_and_is_saved(tmp_path):
    register("plain", own_network())
    model, windows = trained("plain")
    tile = np.random.default_rng(1).normal(size=(4, 7, 8))
    assert model.predict_dense(tile).shape == (2, 5, 6)
    save_bundle(tmp_path, model, {})
    again = load_bundle(tmp_path).classifier
    np.testing.assert_array_equal(
        again.predict_proba(windows), model.predict_proba(windows)
    )


def test_a_model_of_a_network_that_is_not_registered_is_refused(tmp_path):
    register("plain", own_network())
    save_bundle(tmp_path, trained("plain")[0], {})
    del NETWORKS["plain"]
    with pytest.raises(ModelError, match="No network named 'plain'; use one of: "):
        load_bundle(tmp_path)


def test_a_name_stands_for_one_network():
    own = own_network()
    register("plain", own)
    register("plain", own)
    with pytest.raises(ModelError, match="A network named 'plain' already"):
        register("plain", own_network())
    with pytest.raises(ModelError, match="A network named 'default' already"):
        register("default", own)
    assert get_network("default") is DefaultNetwork


@pytest.mark.parametrize("kind", [nn.Linear, Network, "Plain", nn.Linear(1, 1), None])
def test_what_is_no_network_with_a_recipe_is_not_registered(kind):
    with pytest.raises(
        ModelError, match="must be a class derived from Network with a recipe"
    ):
        register("plain", kind)
    assert "plain" not in NETWORKS


def test_an_installed_package_offers_its_network_by_name(tmp_path, monkeypatch):
    (tmp_path / "plain_network.py").write_text(SOURCE)
    about = tmp_path / "plain_network-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: plain-network\nVersion: 1.0\n"
    )
    (about / "entry_points.txt").write_text(
        "[hypercover.networks]\nplain = plain_network:Plain\n"
    )
    with pytest.raises(ModelError, match="No network named 'plain'"):
        get_network("plain")
    monkeypatch.syspath_prepend(tmp_path)
    trained("plain")


@pytest.mark.parametrize("name", [None, 3, ["default"], "", "plain_network:Plain"])
def test_what_is_no_name_of_a_network_is_refused(name):
    with pytest.raises(ModelError, match="No network named"):
        get_network(name)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("plain_network.nope:Plain", "ModuleNotFoundError: "),
        ("plain_network:Nope", "AttributeError: "),
        ("broken_network:Plain", "ZeroDivisionError: "),
    ],
)
def test_a_package_whose_network_cannot_be_loaded_is_named(
    tmp_path, monkeypatch, target, reason
):
    (tmp_path / "plain_network.py").write_text(SOURCE)
    (tmp_path / "broken_network.py").write_text("1 / 0")
    about = tmp_path / "plain_network-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: plain-network\nVersion: 1.0\n"
    )
    (about / "entry_points.txt").write_text(f"[hypercover.networks]\nbad = {target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError) as refused:
        get_network("bad")
    words = f"The network 'bad' of plain-network, {target}, cannot be "
    assert str(refused.value).startswith(f"{words}loaded ({reason}")


def test_windows_have_one_bound_in_files_and_networks():
    from hypercover.scene import samples

    assert samples.MOST_WINDOW == MAX_WINDOW
    with pytest.raises(ModelError, match="at most 4096 × 4096 pixels, got 4097"):
        build("default", bands=3, classes=2, window=4097)
