"""Faces, landmarks and features of all images, on the cluster that this is submitted to.

Takes the options of `fer-ray extract`; submit lines are in docs/how-to/cluster.md.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]])
