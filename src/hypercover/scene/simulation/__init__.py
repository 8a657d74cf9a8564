"""Simulation of scenes: parcels, land cover, reflectance, texture and sensor."""
