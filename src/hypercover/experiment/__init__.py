"""Experiments: one file that says scene, split and models, and the plan it becomes."""
