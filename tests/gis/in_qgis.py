"""Run by the Python of QGIS: load a layer as a user would, and say what its legend shows."""

import json
import sys

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

SIDE = 30


def drawn(layer, path, columns, rows):
    """Draw a layer and return the colours at the middle of each field."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setBackgroundColor(QColor("white"))
    settings.setOutputSize(QSize(columns * SIDE, rows * SIDE))
    settings.setExtent(layer.extent())
    settings.setDestinationCrs(layer.crs())
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    image.save(path)
    half = SIDE // 2
    return [
        image.pixelColor(col * SIDE + half, row * SIDE + half).name()
        for row in range(rows)
        for col in range(columns)
    ]


def about_raster(path):
    layer = QgsRasterLayer(path, "map")
    legend = [[name, color.name()] for name, color in layer.legendSymbologyItems()]
    return layer, {"legend": legend, "renderer": layer.renderer().type()}


def about_vector(path):
    layer = QgsVectorLayer(path, "map", "ogr")
    legend = [
        [one.label(), one.symbol().color().name()] for one in layer.renderer().categories()
    ]
    return layer, {"legend": legend, "count": layer.featureCount()}


def main(kind, path, picture):
    """Print one line of JSON."""
    application = QgsApplication([], True)
    application.initQgis()
    layer, said = (about_raster if kind == "raster" else about_vector)(path)
    assert layer.isValid(), path
    said["crs"] = layer.crs().authid()
    said["pixels"] = drawn(layer, picture, 3, 2)
    print(json.dumps(said), flush=True)
    del layer
    application.exitQgis()


if __name__ == "__main__":
    main(*sys.argv[1:])
