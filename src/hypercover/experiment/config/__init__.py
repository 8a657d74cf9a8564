"""Experiment files: what they may say, and the objects they describe."""
