"""Values of semantic label maps: one code for every part of the suite."""

from __future__ import annotations

BACKGROUND = 0  # the first class, where the dataset has one
UNLABELLED = 254  # a pixel whose class nobody told: it is clustered, and no loss on labels sees it
VOID = 255  # a pixel that does not count: padding, or a border that the annotators left open
MOST_CLASSES = 254  # classes are 0..253
