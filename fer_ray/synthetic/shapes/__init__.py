"""Outlines of the synthetic face, in millimetres."""
