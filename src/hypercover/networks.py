"""Public names: networks for windows, their training recipe, and how to add a network."""

from hypercover.classifiers.networks.attention import AttentionNetwork
from hypercover.classifiers.networks.cnn1d import SpectralNetwork
from hypercover.classifiers.networks.default import DefaultNetwork
from hypercover.classifiers.networks.hybridsn import HybridSN
from hypercover.classifiers.networks.lecture import LectureNetwork
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.network_catalog import NETWORKS, register
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.networks.ssrn import SSRN

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
