"""Features: what is computed from an image, or learnt from training pixels, for a classifier."""
