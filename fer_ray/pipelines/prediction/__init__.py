"""Predictions of a model bundle, and the answers for one image."""
