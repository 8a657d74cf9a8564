"""Public names: networks for windows, their training recipe, and how to add a network."""

from hypercover.classifiers.networks.default import DefaultNetwork
from hypercover.classifiers.networks.lecture import LectureNetwork
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.network_catalog import NETWORKS, register
from hypercover.classifiers.networks.published_networks import (
    SSRN,
    AttentionNetwork,
    HybridSN,
    SpectralNetwork,
)
from hypercover.classifiers.networks.recipe import Recipe

__all__ = [
    "NETWORKS",
    "SSRN",
    "AttentionNetwork",
    "DefaultNetwork",
    "HybridSN",
    "LectureNetwork",
    "Network",
    "Recipe",
    "SpectralNetwork",
    "register",
]
