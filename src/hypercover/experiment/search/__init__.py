"""Grid searches for C and gamma as tasks of a plan."""
