"""Classifiers: estimators on arrays of spectra and windows; they never see a scene."""
