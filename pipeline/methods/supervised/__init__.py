"""Detectors trained on masks, or on pseudo-masks."""
