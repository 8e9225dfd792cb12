"""Build the image without a registry, measure it, and run jobs in it under a memory limit.

    python -m benchmarks.image --base BASE [--target cpu] [--build-option OPTION] [--limits 2048]

Needs Debian's `buildah`, `podman` and `runc`. BASE replaces the base image of the registry. Without
one, create it from Debian's packages, as root:

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm ROOT
    ln -s python3 ROOT/usr/bin/python && rm -rf ROOT/var/cache/apt ROOT/var/lib/apt/lists
    tar -C ROOT -c . | podman import - localhost/debian-python:bookworm

The jobs run as the user of the image, without network and capabilities, on a read-only root file
system; only `/tmp`, `/dev/shm` and a mounted folder are writable.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from benchmarks.report import Table, write_result

HERE = Path(__file__).parent.parent
USER = 1000  # user of the image
MB = 1e6
LEAST_MB = 25  # packages below it are one row
LIMITS_MIB = (1024, 2048)
RAY = "--set execution.executor=ray"
JOBS = {
    "study, without Ray": "fer-ray run --data {data} --out {out}/study",
    "study, on Ray": f"fer-ray run --data {{data}} --out {{out}}/study-ray {RAY}",
    "head on landmark geometry, on Ray":
        f"fer-ray heads --out {{out}}/study-ray --backbone geometry --trials 2 {RAY}",
    "sweep, without Ray": "fer-ray sweep --source {data} --store {out}/store",
    "sweep, on Ray": f"fer-ray sweep --source {{data}} --store {{out}}/store-ray {RAY}",
}  # fmt: skip


def main() -> None:
    """Build, run and measure; write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", help="an image with Python 3.11; default: that of the Dockerfile")
    parser.add_argument("--target", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--build-option", action="append", default=[], help="for `buildah build`")
    parser.add_argument("--limits", nargs="*", type=int, default=LIMITS_MIB, help="memory, in MiB")
    parser.add_argument("--subjects", type=int, default=30, help="of the synthetic corpus")
    options = parser.parse_args()
    image = f"localhost/fer-ray:{version('fer_ray')}-{options.target}"
    build(image, options.target, options.base, options.build_option)
    tables = [space_table(image)]
    if options.limits:
        tables.append(jobs_table(image, options.limits, options.subjects))
    write_result(
        f"image-{options.target}",
        f"Target `{options.target}` of the Dockerfile on {options.base or 'its base image'}: "
        f"{image_bytes(image) / MB:,.0f} MB, not compressed. The jobs run on the synthetic corpus "
        f"of {options.subjects} subjects as user {USER}, on a read-only root file system, without "
        "network and capabilities. The image has the library versions of `constraints.txt`.",
        *tables,
    )


def build(image: str, target: str, base: str | None, options: list[str]) -> None:
    """Build a target of the Dockerfile."""
    base_argument = ["--build-arg", f"BASE={base}"] if base else []
    subprocess.run(
        ["buildah", "build", "--layers", "--target", target, "--tag", image, *base_argument,
         *options, str(HERE)],
        check=True,
    )  # fmt: skip


def image_bytes(image: str) -> int:
    """The size of an image, as `podman images` shows it."""
    return int(json.loads(output("podman", "image", "inspect", image))[0]["Size"])


def output(*command: str) -> str:
    """Run a command and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def space_table(image: str) -> Table:
    """List the packages of the image by size, the largest first."""
    root = Path(output("podman", "image", "mount", image).strip())
    try:
        sizes = package_sizes(root)
    finally:
        subprocess.run(["podman", "image", "unmount", image], check=True, capture_output=True)
    table = Table("part", "MB")
    small = 0
    for name, size in sizes.most_common():
        if size >= LEAST_MB * MB:
            table.add(name, f"{size / MB:,.0f}")
        else:
            small += size
    table.add(f"Python packages below {LEAST_MB} MB", f"{small / MB:,.0f}")
    return table


def package_sizes(root: Path) -> Counter[str]:
    """The bytes of each Python package and of all else in a root file system."""
    [packages] = root.glob("opt/venv/lib/python3*/site-packages")
    sizes: Counter[str] = Counter()
    for entry in packages.iterdir():  # NAME, NAME.libs and NAME.cpython-….so are one package
        sizes[entry.name.split(".")[0].removeprefix("_")] += tree_bytes(entry)
    sizes["operating system and Python"] = tree_bytes(root) - tree_bytes(packages)
    return sizes


def tree_bytes(path: Path) -> int:
    """The bytes of a file, or of all files below a folder."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(
        Path(folder, name).lstat().st_size for folder, _, names in os.walk(path) for name in names
    )


def jobs_table(image: str, limits: list[int], subjects: int) -> Table:
    """Run all jobs under each limit of memory."""
    table = Table("job", "memory, MiB", "exit code", "s", "processes killed for memory")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.chown(work, USER, USER)
        run(image, work, 4096, f"fer-ray synth /mnt/corpus --subjects {subjects}")
        for limit in limits:
            for name, command in JOBS.items():
                started = time.monotonic()
                code, killed = run(
                    image, work, limit, command.format(data="/mnt/corpus", out=f"/mnt/{limit}")
                )
                seconds = time.monotonic() - started
                table.add(name, str(limit), str(code), f"{seconds:.0f}", str(killed))
    return table


def run(image: str, work: Path, limit: int, command: str) -> tuple[int, int]:
    """Run a command in the image; return its exit code and the number of processes killed."""
    script = (
        f"{command}; code=$?; cat /sys/fs/cgroup/memory/memory.oom_control "
        "/sys/fs/cgroup/memory.events 2>/dev/null > /mnt/killed; exit $code"
    )
    done = subprocess.run(
        ["podman", "--runtime", "runc", "run", "--rm", "--read-only", "--network", "none",
         "--cap-drop", "all", "--security-opt", "no-new-privileges", "--memory", f"{limit}m",
         "--memory-swap", f"{limit}m", "--shm-size", "256m", *process_limits(),
         "--volume", f"{work}:/mnt", image, "sh", "-c", script]
    )  # fmt: skip
    lines = dict(line.rsplit(" ", 1) for line in (work / "killed").read_text().splitlines())
    return done.returncode, int(lines["oom_kill"])


def process_limits() -> list[str]:
    """Limits that a container may have without further rights."""
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65_536)
    return ["--ulimit", f"nofile={files}:{files}", "--ulimit", "nproc=16384:16384"]


if __name__ == "__main__":
    main()
