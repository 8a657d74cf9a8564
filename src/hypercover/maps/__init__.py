"""Maps: whole-scene prediction, files a GIS opens, figures and the report."""
