"""Where backbones start: procedural pre-training, downloaded or local weights, or random."""
