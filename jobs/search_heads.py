"""Search network heads on bottleneck features on a Ray cluster.

Takes the options of `fer-ray search-heads`. See docs/how-to/cluster.md for how to submit it.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["search-heads", *sys.argv[1:]])
