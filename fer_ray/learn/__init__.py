"""Splits, classifiers, figures of merit, and the search over them."""
