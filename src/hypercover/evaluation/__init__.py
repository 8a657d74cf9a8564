"""Evaluation: what a classifier is worth on pixels it was not trained on."""
