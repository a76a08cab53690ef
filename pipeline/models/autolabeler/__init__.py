"""MAL's mask auto-labeler (arXiv 2301.03992): one mask per box crop."""
