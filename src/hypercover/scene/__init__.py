"""Scenes: images with their wavelengths, georeference, labels and legend."""
