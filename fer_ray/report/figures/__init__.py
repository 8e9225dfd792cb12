"""Figures of the report, drawn with matplotlib in a light and a dark theme."""
