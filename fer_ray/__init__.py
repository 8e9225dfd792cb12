"""Facial expression recognition as a distributed batch job on Ray."""

from fer_ray.process_environment import fix_worker_environment

fix_worker_environment()  # before any library is imported

__version__ = "0.1.0"
