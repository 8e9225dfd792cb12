"""Repeated SVM trials on extracted features, on the cluster that this is submitted to.

Takes the options of `fer-ray trials`; submit lines are in docs/how-to/cluster.md.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["trials", *sys.argv[1:]])
