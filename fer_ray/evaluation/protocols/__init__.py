"""Protocols: splits, folds, and what their parts share."""
