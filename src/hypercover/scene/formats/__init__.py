"""Formats: one file for each kind of file a scene or its labels may come in."""
