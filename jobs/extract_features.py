"""Extract faces, landmarks and features of all images on a Ray cluster.

Takes the options of `fer-ray extract`. See docs/how-to/cluster.md for how to submit it.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]])
