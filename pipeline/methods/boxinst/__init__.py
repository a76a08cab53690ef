"""BoxInst: projection and colour-pairwise losses on boxes."""
