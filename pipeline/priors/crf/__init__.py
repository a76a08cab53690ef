"""Dense CRF: class probabilities of pixels, moved to the edges of the image."""
