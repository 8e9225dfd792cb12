"""Experiments of a run folder: their data, trials and figures."""
