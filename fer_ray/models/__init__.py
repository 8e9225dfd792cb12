"""Classifiers, nested search, and bundles of fitted models."""
