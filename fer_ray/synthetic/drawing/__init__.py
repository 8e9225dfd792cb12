"""Rendering of a synthetic face to pixels."""
