"""Jobs on a cluster of several hosts that fail or differ, compared with undisturbed jobs.

The hosts are network namespaces of this machine with separate addresses: a head, two workers with
one CPU each, and a host with a bucket. Each fault concerns the second worker, or the head. Needs
root, and libfaketime for the clock. Each cell is appended to a log, so a long series can be run in
parts.

    python -m benchmarks.host_faults --data corpus --folder hosts --faults "joins late" --jobs sweep
    python -m benchmarks.host_faults --folder hosts --report
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.fault_jobs import JOBS, Job
from benchmarks.faults import FAULTS, REPO, Fault, do_nothing
from benchmarks.report import Table, write_result
from tests.cluster.host_cluster import SECOND, HostCluster, SecondWorker, open_cluster
from tests.object_store import upload
from tests.patience import wait_until

MAX_JOB_S = 1200
NORMAL_PRIORITY = {"RAY_worker_niceness": "0"}  # Ray lowers it, and the machine has other work
PROTOCOL = (
    "A synthetic corpus (`fer-ray synth --subjects 4`, 109 frames) in a bucket of a local S3 "
    "server. A head, two workers with one CPU each and the server are network namespaces of one "
    "machine with two CPUs, which had other work to do; durations are therefore only an order of "
    "magnitude. A fault concerns the second worker, or the head. An exit code other than 0 is "
    "followed by that of the same command after the repair. Rows are compared with those of an "
    "undisturbed job on one machine; of a head search, the configurations that it tried. Faults "
    "and jobs of the script that are not in the table have not been measured."
)


def run_cell(cluster: HostCluster, fault: Fault, job: Job, out: Path) -> dict[str, Any]:
    """Run a job under a fault; if it fails, repair the cluster and rerun it once."""
    arguments = job.arguments(cluster.bucket, out)
    fault.prepare(cluster)
    before = _count_objects(out)
    started = time.monotonic()
    driver = cluster.drive(*arguments, number=fault.driver)
    wait_until(
        lambda: driver.poll() is not None or _count_objects(out) - before >= job.grown, every=1
    )
    in_time = driver.poll() is None
    cell: dict[str, Any] = {"middle_s": time.monotonic() - started, "in_time": in_time}
    ended = threading.Event()
    disturber = threading.Thread(target=fault.disturb or do_nothing, args=(cluster, ended))
    disturber.start()
    said, _ = driver.communicate(timeout=MAX_JOB_S)
    cell |= {"seconds": time.monotonic() - started, "code": driver.returncode}
    cell |= {"disturbed_at_end": disturber.is_alive(), "said": said.splitlines()[-30:]}
    ended.set()
    disturber.join()
    if driver.returncode != 0:
        cell["stored"] = _count_objects(out) - before
        fault.repair(cluster)
        driver = cluster.drive(*arguments)
        said, _ = driver.communicate(timeout=MAX_JOB_S)
        cell |= {"rerun": driver.returncode, "rerun_said": said.splitlines()[-30:]}
    cell["rows"] = driver.returncode == 0 and job.read(out)
    return cell


def _count_objects(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*")) if folder.exists() else 0


def _run_local(arguments: tuple[object, ...]) -> None:
    """Run a command in a process of this machine, without a cluster."""
    command = [sys.executable, "-m", "fer_ray", *map(str, arguments)]
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    subprocess.run(command, env=environment, cwd=REPO, check=True, capture_output=True)


def prepare(data: Path, folder: Path) -> None:
    """Run the undisturbed jobs that need no bucket, unless `folder` has them from an earlier call.

    Sweeps are repeated for each bucket, because their rows contain the time of each upload.
    """
    for name in ("extraction", "trials", "head-search"):
        out, job = folder / name, JOBS[name.replace("-", " ")]
        if out.exists():
            continue
        if name == "extraction":
            (folder / "data").symlink_to(data)
        else:
            shutil.copytree(folder / "extraction", out)
        _run_local(job.arguments(folder, out))


def measure(folder: Path, fault_names: list[str], job_names: list[str], log: Path) -> None:
    """Run jobs under faults on a new cluster, and append the cells of the table to `log`.

    Args:
        folder: Undisturbed jobs.
        fault_names: Faults with the same cable.
        job_names: Names of jobs.
        log: The log.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_cluster(
            Path(scratch), SecondWorker(FAULTS[fault_names[0]].cable), NORMAL_PRIORITY
        ) as cluster,
    ):
        upload(folder / "data", cluster.bucket / "data")
        for job_name, fault_name in product(job_names, fault_names):
            cell = _measure_cell(cluster, folder, fault_name, job_name)
            line = json.dumps({"fault": fault_name, "job": job_name, **cell})
            with log.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
            print(line, flush=True)
            cluster.hosts[SECOND].set_link(up=True)
            cluster.nodes[SECOND].kill()  # a node that was cut off ends only some time later
            cluster.restart_ended()


def _measure_cell(
    cluster: HostCluster, folder: Path, fault_name: str, job_name: str
) -> dict[str, Any]:
    job, name = JOBS[job_name], job_name.replace(" ", "-")
    out, expected_out = cluster.bucket / "runs" / f"{name}-{time.time_ns()}", folder / name
    if job_name == "sweep":
        expected_out = cluster.bucket / "undisturbed"
        if not expected_out.exists():
            _run_local(job.arguments(cluster.bucket, expected_out))
    elif job_name != "extraction":
        upload(folder / "extraction", out)
    cell = run_cell(cluster, FAULTS[fault_name], job, out)
    return cell | {"equal": cell.pop("rows") == job.read(expected_out)}


def _by_cable(fault_names: list[str]) -> list[list[str]]:
    """Faults that one cluster can serve."""
    groups: dict[object, list[str]] = {}
    for name in fault_names:
        groups.setdefault(FAULTS[name].cable, []).append(name)
    return list(groups.values())


def _report(log: Path) -> None:
    """Write the table of the latest measurement of each cell."""
    cells = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        cell = json.loads(line)
        cells[cell["fault"], cell["job"]] = cell
    table = Table("fault", "job", "fault after", "job ends after", "exit code", "rows")
    measured = [(fault, job) for fault in FAULTS for job in JOBS if (fault, job) in cells]
    for fault, job in measured:
        cell = cells[fault, job]
        codes = str(cell["code"]) + (f", then {cell['rerun']}" if "rerun" in cell else "")
        after = f"{cell['middle_s']:.0f} s" if FAULTS[fault].disturb else "from the start"
        rows = "equal" if cell["equal"] else "DIFFER"
        table.add(fault, job, after, f"{cell['seconds']:.0f} s", codes, rows)
    messages = Table("fault", "job", "message of the first run")
    for fault, job in measured:
        if cells[fault, job]["code"] != 0:
            messages.add(fault, job, _message(cells[fault, job]["said"]))
    write_result("host-faults", PROTOCOL, table, messages)


def _message(lines: list[str]) -> str:
    """The message at the end of a job's output."""
    own = [line for line in lines if "(raylet)" not in line and not line.startswith("\t")]
    starts = [number for number, line in enumerate(own) if line.startswith("fer-ray: ")]
    message = " ".join(own[starts[-1] if starts else -1 :])
    return message.removeprefix("fer-ray: ").replace("|", "\\|")


def main() -> None:
    """Measure cells, or write the table of those in the log."""
    parser = argparse.ArgumentParser(description="Jobs on hosts that fail")
    parser.add_argument("--data", type=Path, help="labelled images")
    parser.add_argument("--folder", type=Path, required=True, help="undisturbed jobs and the log")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--report", action="store_true", help="only write the table")
    options = parser.parse_args()
    log = options.folder / "cells.jsonl"
    if options.report:
        _report(log)
        return
    options.folder.mkdir(exist_ok=True)
    prepare(options.data.resolve(), options.folder)
    for faults in _by_cable(options.faults):
        measure(options.folder, faults, options.jobs, log)


if __name__ == "__main__":
    main()
