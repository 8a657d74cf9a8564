"""Prediction of whole scenes, tile by tile, in bounded memory."""
