"""SPML: segmentation from tags, boxes, scribbles or points by contrast of pixels with segments."""
