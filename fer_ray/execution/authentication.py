"""The token that a cluster asks for: made for one on this machine, sent to one that is joined."""

import contextlib
import logging
import os
import re
import secrets
from pathlib import Path

from fer_ray.errors import UserError

ANSWER_TIMEOUT_S = 5
CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"  # its request has no content

logger = logging.getLogger(__name__)


def prepare_token() -> None:
    """See that Ray asks for a token, and that nobody but its owner can read its file.

    A cluster of this machine's own gets a token by default; Ray would write it for all to read.
    A client of a cluster sends a token only if it is told to.

    Raises:
        UserError: RAY_AUTH_TOKEN_PATH names a file that is not there, where Ray would abort; or the
            cluster refuses the token, which Ray would try to send for minutes.
    """
    named, address = os.environ.get("RAY_AUTH_TOKEN_PATH"), os.environ.get("RAY_ADDRESS")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE") == "disabled":
        pass
    elif named and not file.is_file():
        raise UserError(f"RAY_AUTH_TOKEN_PATH names {named}, which is not there.")
    elif not address:
        _make_token(file)
    with contextlib.suppress(OSError):
        file.chmod(0o600)
    if address:
        _agree(address, os.environ.get("RAY_AUTH_TOKEN") or _read(file))


def cannot_join(address: str, problem: str) -> str:
    """What to tell a user whose cluster cannot be joined."""
    return (
        f"Cannot join the cluster at {address}: {problem}.\nIs it running, and is "
        "RAY_AUTH_TOKEN_PATH (by default ~/.ray/auth_token) a file with its token?"
    )


def _make_token(file: Path) -> None:
    """Write a new token for its owner alone, unless there is one."""
    with contextlib.suppress(OSError):  # then Ray says what is wrong with its own
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as opened:
            opened.write(secrets.token_hex(32))


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _agree(address: str, token: str | None) -> None:
    """Send a token if the cluster asks for one: to one that does not, its workers would not talk.

    Raises:
        UserError: It asks for another one, or RAY_AUTH_MODE says otherwise than the cluster.
    """
    mode = os.environ.get("RAY_AUTH_MODE")
    open_to_all = _lets_in(address, None)
    if open_to_all and mode == "token":
        raise UserError(
            f"The cluster at {address} asks for no token, and RAY_AUTH_MODE=token is set here. "
            "Start it with RAY_AUTH_MODE=token, or unset that here."
        )
    if open_to_all is False and mode == "disabled":
        raise UserError(
            f"The cluster at {address} asks for a token, and RAY_AUTH_MODE=disabled is set here. "
            "Unset that."
        )
    if open_to_all:
        logger.warning("the cluster at %s asks for no token: who reaches it runs code", address)
    elif token:
        if open_to_all is False and _lets_in(address, token) is False:
            raise UserError(cannot_join(address, "it refuses the token"))
        os.environ["RAY_AUTH_MODE"] = "token"


def _lets_in(address: str, token: str | None) -> bool | None:
    """Whether a cluster answers to this token; None if it cannot be asked."""
    if not re.fullmatch(r"[^/]+:\d+", address):  # `auto`, `ray://…`
        return None
    import grpc  # and no Ray: what it reads of its environment, it reads as it is imported

    sent = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(CHECK_ALIVE)(b"", timeout=ANSWER_TIMEOUT_S, metadata=sent)
        except grpc.RpcError as problem:
            refused = problem.code() is grpc.StatusCode.UNAUTHENTICATED
            return False if refused else None
    return True
