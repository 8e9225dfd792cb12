"""The child process of `guard`: `python -m fer_ray.execution.guard_process`."""

from fer_ray.execution.guard import serve

if __name__ == "__main__":
    serve()
