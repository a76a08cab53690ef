"""Semantic segmentation by classified pixels: what SPML and its supervised counterpart share."""
