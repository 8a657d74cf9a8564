"""Windows around pixels: lazy cuts of a cube, and window files."""
