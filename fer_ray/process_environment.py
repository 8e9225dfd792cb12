"""The environment of fer_ray's processes: variables that would change a result are overridden.

Libraries read options for debugging and tuning from the environment: limits of image sizes, the
precision of arithmetic, the number of epochs. A result must not depend on the shell that a command
runs in, so the command, its child processes and Ray's workers start without them. These are
fer_ray's own processes. In a program that imports fer_ray, variables change only inside a block.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

Changes = Mapping[str, str | None]  # None: the variable is removed

RAY_WORKER = "default_worker.py"  # the program of a worker process

# Set in each process of fer_ray.
FIXED = {
    "MPLBACKEND": "agg",  # notebooks set one that other environments do not have
    "PYTHONUTF8": "1",  # file names are the same in every locale
    "OMP_NUM_THREADS": "1",  # tasks are parallel; a number of threads also changes rounding
    "JAX_DEFAULT_MATMUL_PRECISION": "float32",
}

# Removed, by the beginning of their names.
REMOVED = (
    "OPENCV_",  # limits of decoders, OpenCL, code for other CPUs
    "KERAS_MAX_", "KERAS_NNX_",  # numbers of epochs and steps
    "TF_XLA_FLAGS", "TF_ENABLE_AUTO_MIXED_PRECISION", "TF_USE_LEGACY_KERAS",
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_", "JAX_ENABLE_X64", "JAX_DEFAULT_DTYPE_BITS",
    "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE",
    "SCIPY_ARRAY_API", "SKLEARN_",
    "PYTHONWARNINGS",  # warnings of libraries are not errors
)  # fmt: skip

_own = False  # see `is_own_process`


def fixed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment, with `FIXED` set and `REMOVED` removed.

    Other threads may change the environment during the copy.

    Examples:
        >>> fixed_environment({"OPENCV_IO_MAX_IMAGE_PIXELS": "9", "HOME": "/home/ada"})["HOME"]
        '/home/ada'
    """
    values = ((name, environment.get(name)) for name in environment if not name.startswith(REMOVED))
    return {name: value for name, value in values if value is not None} | FIXED


def fix_environment() -> None:
    """Make this one of fer_ray's own processes: change its environment to `fixed_environment`.

    Call it before libraries are imported, which may read their variables only then.
    """
    global _own
    _own = True
    change_environment(_fixes())


def is_own_process() -> bool:
    """Return whether this process runs fer_ray only, and not a program that imports it."""
    return _own


def overrides_removed() -> Changes:
    """The changes that remove the variables `REMOVED` from the environment of this process."""
    return {name: None for name in os.environ if name.startswith(REMOVED)}


def change_environment(changes: Changes) -> None:
    """Set variables of this process, and remove those whose value is None."""
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def environment_changed(changes: Changes) -> Iterator[None]:
    """`change_environment` for the block and the processes that it starts, and undo it after it."""
    before = {name: os.environ.get(name) for name in changes}
    change_environment(changes)
    try:
        yield
    finally:
        change_environment(before)


@contextmanager
def variables_restored(*beginnings: str) -> Iterator[None]:
    """Restore the variables with these prefixes, whatever the block or a library does to them."""
    before = {name: os.environ[name] for name in os.environ if name.startswith(beginnings)}
    try:
        yield
    finally:
        added = [name for name in os.environ if name.startswith(beginnings) and name not in before]
        change_environment({**dict.fromkeys(added), **before})


def environment_fixed() -> AbstractContextManager[None]:
    """Fix the environment of processes that the block starts, and restore it after the block."""
    return environment_changed(_fixes())


def _fixes() -> Changes:
    return {**overrides_removed(), **FIXED}


def fix_worker_environment() -> None:
    """`fix_environment` and `import_paths` in a worker of Ray, which starts with those of its node.

    Has no effect in other processes.
    """
    if Path(sys.argv[0]).name == RAY_WORKER:
        fix_environment()
        sys.path[:] = import_paths()


def import_paths() -> list[str]:
    """`sys.path` with the current folder last, unless it contains this package.

    A file in the current folder, such as `random.py`, must not replace a library.
    """
    try:
        current = str(Path.cwd())
    except FileNotFoundError:  # it has been deleted
        current = ""
    others = [path for path in sys.path if path not in ("", current)]
    if not current or len(others) == len(sys.path):
        return others
    is_package = str(Path(__file__).parent.parent) == current
    return [current, *others] if is_package else [*others, current]


def restart_in_utf8() -> None:
    """Replace this process with one in Python's UTF-8 mode if its locale has another encoding.

    Names of files would otherwise be decoded in that encoding, and rows would contain other paths.
    Python reads the mode only when it starts. The C and POSIX locales imply it.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
