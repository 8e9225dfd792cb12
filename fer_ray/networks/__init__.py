"""Pretrained backbones, their bottleneck features, and network heads."""
