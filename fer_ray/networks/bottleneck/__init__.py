"""Bottleneck features: augmentation, inference and rows."""
