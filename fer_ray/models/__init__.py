"""Classifiers, the nested search over them, and bundles of fitted models."""
