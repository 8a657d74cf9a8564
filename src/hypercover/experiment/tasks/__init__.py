"""The tasks of a run: what each does, given the run folder and a few names."""
