"""What a method may see: one label file per supervision."""
