"""MAL (arXiv 2301.03992): masks from boxes by multiple-instance and mean-field losses."""
