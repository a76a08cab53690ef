"""The procedural dataset `shapes`: textured, occluding objects that do not fill their boxes."""
