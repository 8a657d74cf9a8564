"""Samples: which pixels train and which test, what leaks between them, and their windows."""
