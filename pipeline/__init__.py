"""weakseg: weakly supervised segmentation methods, compared fairly under one DVC pipeline."""

__version__ = "0.1.0"
