"""Measurements: scripts anyone can run again, and what they printed."""
