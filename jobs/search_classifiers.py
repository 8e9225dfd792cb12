"""Run a nested search over features and classifiers on a Ray cluster.

Takes the options of `fer-ray search`. See docs/how-to/cluster.md for how to submit it.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
