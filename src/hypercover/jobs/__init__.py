"""Jobs: plans of small tasks and who runs them; jobs know no science."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
