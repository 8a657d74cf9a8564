"""Reading and writing scenes: one file for each format."""
