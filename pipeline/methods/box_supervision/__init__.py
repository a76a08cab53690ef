"""What learns masks from boxes alone: box masks, similar pixels, projection and pairwise losses."""
