"""The simulated scene, one step a file: covers, parcels, survey, spectra, texture, sensor."""
