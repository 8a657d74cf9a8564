"""Public names: networks for windows, their training recipe, and how to add a network."""

from hypercover.classifiers.networks.default import DefaultNetwork as DefaultNetwork
from hypercover.classifiers.networks.lecture import LectureNetwork as LectureNetwork
from hypercover.classifiers.networks.network import Network as Network
from hypercover.classifiers.networks.network_catalog import NETWORKS as NETWORKS
from hypercover.classifiers.networks.network_catalog import register as register
from hypercover.classifiers.networks.published_networks import SSRN as SSRN
from hypercover.classifiers.networks.published_networks import (
    AttentionNetwork as AttentionNetwork,
)
from hypercover.classifiers.networks.published_networks import HybridSN as HybridSN
from hypercover.classifiers.networks.published_networks import (
    SpectralNetwork as SpectralNetwork,
)
from hypercover.classifiers.networks.recipe import Recipe as Recipe

__all__ = [name for name in globals() if not name.startswith("_")]
