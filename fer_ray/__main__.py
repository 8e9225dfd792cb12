"""Run the command line as `python -m fer_ray`."""

from fer_ray.cli.main import main

main()
