"""Checks that all nodes have the versions of the driver, because rows depend on versions."""

import logging
import socket
from functools import cache
from typing import Any

import fer_ray
from fer_ray.errors import UserError
from fer_ray.storage.environment import library_versions

NODE_ANSWER_TIMEOUT_S = 120  # a node that joins starts its first worker within seconds
# Ray compares the first two itself; the others read and write tables, and draw.
NOT_COMPARED = {"python", "ray", "pyarrow", "pandas", "deltalake", "duckdb", "matplotlib"}

Versions = dict[str, str]

logger = logging.getLogger(__name__)


@cache
def own_versions() -> Versions:
    """Versions of `fer_ray`, and of the libraries that rows depend on, in this process."""
    libraries = {
        name: version for name, version in library_versions().items() if name not in NOT_COMPARED
    }
    return {"fer_ray": fer_ray.__version__, **libraries}


def require_same_versions(driver: Versions) -> None:
    """Require the versions of the driver in this process, which runs on any node.

    Libraries that only one of the two has are ignored: nodes need not have all of them.

    Args:
        driver: `own_versions` of the driver.

    Raises:
        UserError: A version differs.
    """
    different = [
        f"{name} {version} (the job: {driver[name]})"
        for name, version in own_versions().items()
        if driver.get(name, version) != version
    ]
    if different:
        raise UserError(
            f"Host {socket.gethostname()} of the cluster has {', '.join(different)}. Rows of "
            "different versions must not mix. Install the same packages on all hosts "
            "(constraints.txt), restart Ray there, and rerun the same command to resume."
        )


def require_same_versions_on_nodes() -> None:
    """Require the versions of this process on all nodes; nodes that are lost are ignored.

    Raises:
        UserError: A version differs.
    """
    import ray

    driver = ray.get_runtime_context().get_node_id()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != driver]
    for reference in [_check_on(node) for node in nodes]:
        try:
            ray.get(reference, timeout=NODE_ANSWER_TIMEOUT_S)
        except ray.exceptions.RayTaskError as problem:
            raise problem.cause from None
        except ray.exceptions.RayError as problem:
            logger.warning("cannot check the versions of a node: %s", problem)


def _check_on(node: str) -> Any:
    """Reference to the result of `require_same_versions` on `node`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0)(require_same_versions)
    return task.options(scheduling_strategy=strategy).remote(own_versions())
