"""Losses and inference of Mask2Former (arXiv 2112.01527), for every method that trains it."""
