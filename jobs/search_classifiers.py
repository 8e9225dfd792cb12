"""A nested search over features and classifiers, on the cluster that this is submitted to.

Takes the options of `fer-ray search`; submit lines are in docs/how-to/cluster.md.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
