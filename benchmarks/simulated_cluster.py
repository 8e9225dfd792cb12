"""A Ray cluster whose nodes are simulated on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fer_ray.execution.cluster.authentication import prepare_token
from tests.patience import raise_start_limits

STORE_BYTES = 100_000_000  # of each node's object store


def start_cluster() -> Any:
    """Start a cluster with token authentication and a head node without CPUs.

    Returns:
        A `ray.cluster_utils.Cluster`; add nodes with `add_node`.
    """
    prepare_token()
    # Ray reads these on import, here and in child processes.
    os.environ.update(raise_start_limits(), RAY_AUTH_MODE="token")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    return Cluster(initialize_head=True, head_node_args=head)


def add_node(cluster: Any) -> Any:
    """Add a node with one CPU."""
    return cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)


@contextmanager
def simulated_nodes(count: int) -> Iterator[None]:
    """Set `RAY_ADDRESS` to a cluster of `count` nodes with one CPU each."""
    cluster = start_cluster()
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        for _ in range(count):
            add_node(cluster)
        yield
    finally:
        cluster.shutdown()
        del os.environ["RAY_ADDRESS"], os.environ["RAY_AUTH_MODE"]
