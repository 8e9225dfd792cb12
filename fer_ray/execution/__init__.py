"""Everything that imports Ray, and the guarded worker process."""
