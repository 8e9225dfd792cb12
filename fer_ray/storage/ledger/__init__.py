"""The scratch database in which a sweep compares its listing with its store."""
