"""A search of network heads on bottleneck features, on the cluster that this is submitted to.

Takes the options of `fer-ray search-heads`; submit lines are in docs/how-to/cluster.md.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["search-heads", *sys.argv[1:]])
