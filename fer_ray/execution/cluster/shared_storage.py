"""Checks that all nodes of a cluster can access the same folders on disks."""

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.storage.files import unreachable
from fer_ray.storage.paths import is_object, local_paths

NODE_ANSWER_TIMEOUT_S = 120  # a node that joins starts its first worker within seconds
SYNC_S = 3  # until a file created or removed on another node is visible (NFS: actimeo=1)

logger = logging.getLogger(__name__)


def require_shared(out: Path, *sources: Path) -> None:
    """Require that all nodes of the cluster can access the same folders on disks.

    Nodes that join later check this themselves (`require_reachable`).

    Args:
        out: Run folder, which exists.
        sources: Folders that are only read.

    Raises:
        UserError: A node cannot access one of them.
    """
    import ray

    local_sources = local_paths(*sources)
    if missing := unreachable(local_sources):
        raise UserError(not_shared_message(missing[0]))
    driver = ray.get_runtime_context().get_node_id()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != driver]
    if not nodes or not local_paths(out, *sources):
        return
    folder = None if is_object(out) else out
    with tempfile.NamedTemporaryFile(prefix=".seen-by-all-", dir=folder) as file:
        marker = Path(file.name)
        missing = _unreachable_from(nodes, [*([marker] if folder else []), *local_sources])
    if missing:
        raise UserError(not_shared_message(out if marker in missing else missing[0]))


def _unreachable_from(nodes: list[str], paths: list[Path]) -> list[Path]:
    """Select the paths that any of `nodes` cannot access; nodes that are lost are ignored."""
    import ray

    missing: list[Path] = []
    for reference in [_check_on(node, paths) for node in nodes]:
        try:
            missing += ray.get(reference, timeout=NODE_ANSWER_TIMEOUT_S)
        except ray.exceptions.RayError as problem:
            logger.warning("cannot check whether a node can access the storage: %s", problem)
    return missing


def require_reachable(*folders: Path) -> None:
    """Require that this node can access the folders.

    Raises:
        UserError: The node cannot access one of them.
    """
    for folder in unreachable(local_paths(*folders)):
        raise UserError(not_shared_message(folder))


def require_same(root: Path, paths: list[str], node: str) -> None:
    """Require that images that this task cannot read are missing, not only invisible to its node.

    Args:
        root: Folder that `paths` are relative to.
        paths: Paths of the images.
        node: Id of the node that listed them.

    Raises:
        UserError: That node can access some of them, so the disks differ.
    """
    missing = [] if is_object(root) else unreachable([root / path for path in paths])
    if missing and _reachable_from(node, missing):
        raise UserError(not_shared_message(root))


def _reachable_from(node: str, paths: list[Path]) -> bool:
    """Return whether `node` can access any of `paths` and this node cannot, even after `SYNC_S`."""
    import ray

    if node == ray.get_runtime_context().get_node_id():
        return False
    try:
        missing = ray.get(_check_on(node, paths), timeout=NODE_ANSWER_TIMEOUT_S)
    except ray.exceptions.RayError:  # the job is about to end
        return False
    reachable = [path for path in paths if path not in missing]
    if reachable:
        time.sleep(SYNC_S)
    return bool(unreachable(reachable))


def _check_on(node: str, paths: list[Path]) -> Any:
    """Reference to the result of `unreachable` on `node`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0)(unreachable)
    return task.options(scheduling_strategy=strategy).remote(paths)


def not_shared_message(folder: Path) -> str:
    """Message for a folder that is not the same on all nodes of the cluster."""
    return (
        f"{folder} is missing or differs on a node of the cluster. Use a folder on storage that "
        "all nodes mount at the same path (NFS, EFS, a ReadWriteMany volume)."
    )
