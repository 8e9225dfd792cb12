"""Training: trials, searches, network heads and model bundles."""
