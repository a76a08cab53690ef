"""Mean teacher: few masks, and images without labels that a teacher labels for its student."""
