"""The whole study (extraction, trials and report), on the cluster that this is submitted to.

Takes the options of `fer-ray run`; submit lines are in docs/how-to/cluster.md.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
