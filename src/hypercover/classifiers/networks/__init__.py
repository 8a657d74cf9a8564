"""Networks, one file each, most of them spatially valid: a scene is one dense pass."""
