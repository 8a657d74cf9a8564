"""Networks: one file each, all spatially valid, so a scene is one dense convolution."""
