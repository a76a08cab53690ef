"""Class activation maps from image tags, and their refinement by learnt boundaries."""
