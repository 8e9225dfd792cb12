"""The child process of `guard`: `python -m fer_ray.execution.guard_process`."""

from fer_ray.execution.guard import serve

if __name__ == "__main__":
    # Every child process needs it. One that starts ahead imports it while its parent is busy.
    import fer_ray.features.image_steps  # noqa: F401

    serve()
