"""Pansharpening: the detail of a panchromatic image put into coarser bands."""
