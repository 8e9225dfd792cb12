"""Run extraction, trials and report on a Ray cluster.

Takes the options of `fer-ray run`. See docs/how-to/cluster.md for how to submit it.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
