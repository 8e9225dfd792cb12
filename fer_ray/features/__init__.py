"""Feature vectors from landmarks and pixels."""
