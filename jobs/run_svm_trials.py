"""Run SVM trials on extracted features on a Ray cluster.

Takes the options of `fer-ray trials`. See docs/how-to/cluster.md for how to submit it.
"""

import sys

from fer_ray.cli.main import main

if __name__ == "__main__":
    main(["trials", *sys.argv[1:]])
