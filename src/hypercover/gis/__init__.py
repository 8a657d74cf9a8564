"""Maps for a GIS: rasters, styles, polygons and STAC items."""
