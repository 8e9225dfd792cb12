"""Sources of images.

`datasets` lists a source completely and returns a sorted table, for run folders. `streams` lists a
folder or bucket image by image, for sweeps. Both share the modules at this level: which files count
as images, labels, data quality and decoding.
"""
