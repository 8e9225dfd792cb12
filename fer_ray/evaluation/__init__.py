"""Splits, metrics, intervals, comparisons and the results of a run folder."""
