"""Geometry of a synthetic face, in millimetres."""
