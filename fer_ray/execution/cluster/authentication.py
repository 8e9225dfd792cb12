"""Ray's authentication token: created for a local cluster, sent to a cluster that requires it."""

import contextlib
import logging
import os
import secrets
from pathlib import Path

from fer_ray.errors import UserError
from fer_ray.execution.cluster.cluster_address import is_host_and_port, locate_cluster
from fer_ray.storage.user_folders import home_folder

ANSWER_TIMEOUT_S = 9  # on a busy machine
DIRECT = (("grpc.enable_http_proxy", 0),)  # as Ray itself, which uses no proxy in a cluster
CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"  # a gRPC method with an empty request

logger = logging.getLogger(__name__)


def prepare_token() -> None:
    """Make Ray require a token on a local cluster, and send one to a remote cluster.

    A local cluster gets a token by default. The token file is readable by its owner only; Ray
    itself would make it readable by all.

    Raises:
        UserError: RAY_AUTH_TOKEN_PATH names a missing file, on which Ray would abort, or the
            cluster refuses the token, which Ray would retry for minutes.
    """
    path, address = os.environ.get("RAY_AUTH_TOKEN_PATH"), os.environ.get("RAY_ADDRESS")
    file = Path(path) if path else (home_folder() or Path("/")) / ".ray" / "auth_token"
    needs_file = not (
        os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE") == "disabled"
    )
    if needs_file and path and not file.is_file():
        raise UserError(
            f"RAY_AUTH_TOKEN_PATH names {path}, which does not exist. Correct or unset it."
        )
    if needs_file and not address:
        _create_token(file)
    with contextlib.suppress(OSError):
        file.chmod(0o600)
    if address:
        _set_mode(locate_cluster(address), os.environ.get("RAY_AUTH_TOKEN") or _read_token(file))


def join_error_message(address: str, problem: str) -> str:
    """Message for a cluster that cannot be joined."""
    return (
        f"Cannot join the cluster at {address}: {problem}.\nCheck that it is running, and that "
        "RAY_AUTH_TOKEN_PATH (by default ~/.ray/auth_token) is a file with its token."
    )


def _create_token(file: Path) -> None:
    """Write a new token, readable by its owner only, unless the file exists.

    If the home folder cannot be written, the token is in the environment of this process and of
    those that it starts.
    """
    token = secrets.token_hex(32)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(token)
    except FileExistsError:
        if _read_token(file) is None:
            os.environ["RAY_AUTH_TOKEN"] = token
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = token


def _read_token(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _set_mode(address: str, token: str | None) -> None:
    """Send the token if the cluster requires one; workers of an open cluster would refuse it.

    Raises:
        UserError: The cluster rejects or lacks the token, or RAY_AUTH_MODE contradicts the cluster.
    """
    mode, is_open = os.environ.get("RAY_AUTH_MODE"), _accepts(address, None)
    if is_open and mode == "token":
        raise UserError(
            f"The cluster at {address} requires no token, but RAY_AUTH_MODE=token is set. Start "
            "the cluster with RAY_AUTH_MODE=token, or unset it here."
        )
    if is_open is False and mode == "disabled":
        raise UserError(
            f"The cluster at {address} requires a token, but RAY_AUTH_MODE=disabled is set. "
            "Unset it."
        )
    if is_open:
        logger.warning(
            "the cluster at %s requires no token: anyone who can reach it can run code", address
        )
    elif token is None and is_open is False:
        raise UserError(join_error_message(address, "it requires a token"))
    elif token:
        if is_open is False and _accepts(address, token) is False:
            raise UserError(join_error_message(address, "it rejects the token"))
        os.environ["RAY_AUTH_MODE"] = "token"


def _accepts(address: str, token: str | None) -> bool | None:
    """Return whether a cluster accepts requests with this token.

    Args:
        address: Address of the cluster.
        token: The token. None: requests without one.

    Returns:
        None if that cannot be checked, because of TLS or an address other than `HOST:PORT`.

    Raises:
        UserError: What listens at the address does not answer as Ray does.
    """
    if not is_host_and_port(address) or os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return None
    import grpc  # not Ray, which reads its environment at import

    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address, options=DIRECT) as channel:
        try:
            channel.unary_unary(CHECK_ALIVE)(b"", timeout=ANSWER_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as problem:
            if problem.code() is grpc.StatusCode.UNAUTHENTICATED:
                return False
            reason = "it does not respond like Ray (a cluster with TLS needs RAY_USE_TLS=1 here)"
            raise UserError(join_error_message(address, reason)) from None
    return True
