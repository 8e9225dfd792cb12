"""Checks of data, labels and results."""
