"""`python -m fer_ray.sweep.child`: the process that `guard` starts."""

from fer_ray.sweep.guard import serve

if __name__ == "__main__":
    serve()
