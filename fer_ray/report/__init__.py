"""What a run found, as figures and one page."""
