"""Train on each source and test on each on a Ray cluster.

Takes the options of `fer-ray transfer`. See docs/how-to/cluster.md for how to submit it.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["transfer", *sys.argv[1:]])
