"""Land-cover maps from hyperspectral images, with an accuracy that can be believed."""
