"""MAL: masks from boxes by an auto-labeler."""
