"""Feature vectors of landmarks and pixels, and the steps of extraction."""
