"""Datasets in, COCO out: procedural shapes, COCO folders, images, transforms."""
