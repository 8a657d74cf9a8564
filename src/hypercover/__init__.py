"""Land-cover maps from hyperspectral images, with an accuracy that can be believed.

The public names are listed in ``__init__.pyi``; each is imported when it is first
used, so that ``import hypercover`` stays quick.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

try:
    __version__ = version("hypercover")
except PackageNotFoundError:
    # A source tree that is on the path without being installed.
    __version__ = "0+unknown"
