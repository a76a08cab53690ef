"""What images alone say about segments."""
