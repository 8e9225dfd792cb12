"""Pretrained backbones, bottleneck features and network heads."""
