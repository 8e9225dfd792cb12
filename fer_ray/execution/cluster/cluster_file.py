"""Checks of a file for `ray up`, before it starts machines that cost money."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import yaml

from fer_ray.errors import UserError

# Identifiers of AWS whose digits are zeros, as in cluster.yaml, and the addresses that RFC 5737
# reserves for documentation.
PLACEHOLDER = re.compile(
    r"\b[a-z]+-0{16}[0-9a-f]\b|\b(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}\b"
)


def find_placeholders(text: str) -> list[tuple[int, str]]:
    """Find values that the user has not replaced yet.

    Args:
        text: A file for `ray up`.

    Returns:
        Line number, from 1, and value of each placeholder. Comments are ignored.

    Examples:
        >>> find_placeholders("ImageId: ami-00000000000000000  # yours")
        [(1, 'ami-00000000000000000')]
    """
    return [
        (number, value)
        for number, line in enumerate(text.splitlines(), 1)
        for value in PLACEHOLDER.findall(line.split("#")[0])
    ]


def check_cluster_file(file: Path) -> str:
    """Check a file for `ray up`: placeholders, Ray's schema, and the files that nodes receive.

    Args:
        file: The file. Relative paths in it are relative to the current folder, as for `ray up`.

    Returns:
        What the file starts.

    Raises:
        UserError: A value is missing or wrong.
    """
    try:
        text = file.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not a YAML file: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{file} is not a cluster file: it contains no settings.")
    placeholders = find_placeholders(text)
    if placeholders:
        lines = "; ".join(f"line {number}: {value}" for number, value in placeholders)
        raise UserError(f"{file} contains values that you must replace with your own: {lines}.")
    workers = _validate(file, config)
    missing = [source for source in _mounted(config) if not Path(source).expanduser().exists()]
    if missing:
        raise UserError(
            f"file_mounts of {file} names files that do not exist: {', '.join(missing)}. Run "
            "`ray up` in the root of the repository, and create the token with "
            "`ray get-auth-token --generate`."
        )
    key = config["auth"].get("ssh_private_key")
    if key and not Path(key).expanduser().is_file():
        raise UserError(
            f"ssh_private_key of {file} names {key}, which is not a file. Create a key with "
            f"`ssh-keygen -N '' -f {key}`, and add its public key to ~/.ssh/authorized_keys on "
            "every machine."
        )
    return f"{config['cluster_name']}: a head node and up to {workers} workers"


def _validate(file: Path, config: Any) -> int:
    """Check a file against Ray's schema, and return the number of workers."""
    from jsonschema.exceptions import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # Ray's advice
            prepared = prepare_config(config)
        validate_config(prepared)
    except ValidationError as error:
        raise UserError(f"Ray does not accept {file}: {error.message}.") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"Ray does not accept {file}: {error}.") from None
    return int(prepared["max_workers"])


def _mounted(config: dict[str, Any]) -> list[str]:
    return list(config.get("file_mounts", {}).values())
