"""Land-cover maps from hyperspectral images, with an accuracy that can be believed.

The public names stand in ``__init__.pyi``; each is imported when it is first
used, so that ``import hypercover`` stays quick.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
