"""Convolutional networks: training, prediction and export."""
