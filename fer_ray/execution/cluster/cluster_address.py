"""The address of a cluster, checked before Ray tries to join it for minutes."""

import re
import socket

from fer_ray.errors import UserError, error_text

CONNECT_TIMEOUT_S = 5
_HOST_AND_PORT = re.compile(r"\[?(?P<host>[^/\[\]]+?)\]?:(?P<port>\d+)")


def is_host_and_port(address: str) -> bool:
    """Return whether an address is `HOST:PORT`; others are `auto`, or are refused."""
    return _HOST_AND_PORT.fullmatch(address) is not None


def locate_cluster(address: str) -> str:
    """Return the address that Ray resolves `auto` to; any other one is returned unchanged.

    `auto` is a cluster that runs on this machine. If there is none, Ray reports it.
    """
    if address != "auto":
        return address
    from ray._private import services

    try:
        return services.get_ray_address_from_environment(address, None) or address
    except ConnectionError:
        return address


def try_connection(address: str) -> None:
    """Open and close a connection.

    Raises:
        UserError: The address has another form than `HOST:PORT`.
        OSError: Nothing answers there.
        OverflowError: The number of the port is too large.
    """
    parts = _HOST_AND_PORT.fullmatch(address)
    if parts is None:
        raise UserError(_form_message(address))
    socket.create_connection((parts["host"], int(parts["port"])), CONNECT_TIMEOUT_S).close()


def require_open_port(address: str) -> None:
    """Require that something listens at the address of a cluster.

    Args:
        address: The value of RAY_ADDRESS. `auto` and `local` are left to Ray.

    Raises:
        UserError: The address has another form than `HOST:PORT`, or nothing answers there.
    """
    if address in ("auto", "local"):
        return
    try:
        try_connection(address)
    except (OSError, OverflowError) as problem:
        raise UserError(
            f"No cluster answers at RAY_ADDRESS={address}: {error_text(problem)}. Check the "
            "address and that the cluster is running, or unset RAY_ADDRESS to run on this machine."
        ) from None


def _form_message(address: str) -> str:
    if address.startswith("ray://"):
        host = address.removeprefix("ray://").rpartition(":")[0] or "HOST"
        return (
            f"RAY_ADDRESS={address} is an address of Ray Client, which fer_ray does not use. On a "
            f"machine of the cluster, set RAY_ADDRESS={host}:6379; elsewhere, submit a job with "
            "`ray job submit`."
        )
    if "://" in address:
        return (
            f"RAY_ADDRESS={address} is a URL. Set it to HOST:6379, the address of the cluster's "
            "head. `ray job submit` takes the URL of the dashboard, from RAY_API_SERVER_ADDRESS."
        )
    return f"RAY_ADDRESS={address} has no port. Write it as HOST:6379."
