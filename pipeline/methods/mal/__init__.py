"""MAL (arXiv 2301.03992): a mask auto-labeler trained on box crops, and the pseudo-masks it gives."""
