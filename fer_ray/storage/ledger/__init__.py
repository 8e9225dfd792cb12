"""The scratch database that holds a sweep's listing against its store."""
