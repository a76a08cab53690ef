"""BoxTeacher: a student learns from boxes, and from its teacher's good masks of the same boxes."""
