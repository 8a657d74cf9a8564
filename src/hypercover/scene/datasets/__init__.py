"""Benchmark scenes: a catalog, finding them on disk and fetching them."""
