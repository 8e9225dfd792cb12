"""Bottleneck features of pretrained networks, and the heads trained on them."""
