"""Extraction: frames, their features, and bottleneck features."""
