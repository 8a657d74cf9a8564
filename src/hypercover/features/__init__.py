"""Features: what is computed from an image, or learnt from training pixels, for a classifier."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
