"""Model bundles: folders without pickle whose files are verified by hash."""
