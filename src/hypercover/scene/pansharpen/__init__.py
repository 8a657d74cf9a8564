"""Pansharpening: details of a panchromatic image added to coarser bands."""
