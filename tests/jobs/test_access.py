"""Clients whose settings and token are not those of the cluster."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.jobs.head import REPO, Completed, Head

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = """
import os
from fer_ray.access import prepare_token
from fer_ray.errors import UserError
try:
    prepare_token()
    print("sent" if os.environ.get("RAY_AUTH_MODE") == "token" else "not sent")
except UserError as problem:
    print(problem)
"""


@pytest.fixture(scope="module")
def open_head() -> Iterator[Head]:
    """A head that asks for no token."""
    head = Head(processors=0, auth="disabled")
    yield head
    head.close()


def client(head: Head, **changes: str) -> Completed:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=head.env(RAY_ADDRESS=head.address, **changes),
        cwd=REPO, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip


def test_a_token_goes_to_a_cluster_that_asks_for_it(bare_head: Head) -> None:
    assert client(bare_head, RAY_AUTH_MODE="").stdout == "sent\n"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token, and RAY_AUTH_MODE=disabled is set"),
        ({"RAY_AUTH_TOKEN": "0" * 64}, "it refuses the token"),
    ],
)
def test_a_cluster_that_asks_for_another_token_is_told(
    bare_head: Head, changes: dict[str, str], says: str
) -> None:
    assert says in client(bare_head, **changes).stdout


@pytest.mark.thorough
def test_no_token_goes_to_a_cluster_that_asks_for_none(open_head: Head) -> None:
    done = client(open_head, RAY_AUTH_MODE="")
    assert done.stdout == "not sent\n"
    assert "asks for no token: who reaches it runs code" in done.stderr


@pytest.mark.thorough
def test_a_cluster_without_a_token_is_not_joined_with_one(open_head: Head) -> None:
    said = client(open_head, RAY_AUTH_MODE="token").stdout
    assert "asks for no token, and RAY_AUTH_MODE=token is set here" in said
