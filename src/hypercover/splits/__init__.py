"""Splits: which labelled pixels train and which test, and what leaks between them."""
