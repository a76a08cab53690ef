"""Boxes to masks without training."""
