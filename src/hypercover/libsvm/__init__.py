"""LIBSVM: its data files, where their samples lie, and its model files."""
