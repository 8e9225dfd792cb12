"""Bring a store up to date with a source of images, on a Ray cluster.

Takes the options of `fer-ray sweep`. See docs/how-to/cluster.md for how to submit it.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])
