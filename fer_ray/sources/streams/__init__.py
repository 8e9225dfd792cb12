"""Sources that are listed as a stream, for sweeps: folders and buckets of any size."""
