"""Wording of the report."""
