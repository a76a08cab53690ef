"""What runs when: presets, checks before anything runs, and independent stages side by side."""
