"""Benchmark scripts. `results/` contains their latest results."""
