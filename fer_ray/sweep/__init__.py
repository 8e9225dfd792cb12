"""Sweeps: a store of results kept in step with a source of images that grows and changes."""
