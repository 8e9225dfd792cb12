"""`python -m fer_ray.execution.guard_process`: the process that `guard` starts."""

from fer_ray.execution.guard import serve

if __name__ == "__main__":
    serve()
