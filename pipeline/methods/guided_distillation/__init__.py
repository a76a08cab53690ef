"""Guided Distillation: a mean teacher whose burn-in a third network guides."""
