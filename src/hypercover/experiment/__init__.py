"""Experiments: one file that says scene, split and models, and the plan it becomes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
