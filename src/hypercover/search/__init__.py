"""Search: the best C and gamma of an SVM by cross-validation that shares its work."""
