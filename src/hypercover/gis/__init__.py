"""Maps for a GIS: rasters, styles, polygons and catalogues."""
