"""Hosts that a user logs in to: an account, an SSH server, and a Python environment of its own."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.cluster.hosts import Host, missing_for_hosts
from tests.patience import wait_until

USER, USER_ID = "fer", 5000
HOME = f"/home/{USER}"
PYTHON = "/usr/bin/python3"
SSHD = "/usr/sbin/sshd"

# Changes only what the host sees. The packages of this environment replace a download, as on a
# machine without access to the package index. (`no-build-isolation = false` turns isolation off.)
ACCOUNT = f"""
set -e
mount -t tmpfs -o mode=755 none /home
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/sshd
grep -q '^{USER}:' /etc/passwd && exit 3
for file in passwd shadow group; do
    cp -p /etc/$file /run/$file
    mount --bind /run/$file /etc/$file
done
echo '{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/bash' >> /etc/passwd
echo '{USER}:*:19000:0:99999:7:::' >> /etc/shadow
echo '{USER}:x:{USER_ID}:' >> /etc/group
mkdir -p {HOME}/.ssh {HOME}/.config/pip
echo "$KEY" > {HOME}/.ssh/authorized_keys
chmod 700 {HOME}/.ssh && chmod 600 {HOME}/.ssh/authorized_keys
printf '[global]\\nno-index = true\\nno-build-isolation = false\\n' > {HOME}/.config/pip/pip.conf
{PYTHON} -m venv {HOME}/venv
echo "$PACKAGES" > {HOME}/venv/lib/python$VERSION/site-packages/packages.pth
sed '1s|.*|#!{HOME}/venv/bin/python|' "$RAY" > {HOME}/venv/bin/ray
chmod +x {HOME}/venv/bin/ray
echo "$PROFILE" > {HOME}/.profile
touch {HOME}/.bashrc
chmod 600 {HOME}/.profile
chown -R {USER}:{USER} {HOME}
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
"""
SSHD_OPTIONS = (
    "HostKey=/run/host_key", "PidFile=none", "UsePAM=no", "PasswordAuthentication=no",
    "PermitRootLogin=no", f"AllowUsers={USER}", "MaxStartups=100", "X11Forwarding=no",
)  # fmt: skip


def missing_for_logins() -> str | None:
    """What this machine lacks for `install_login`; None if nothing is missing."""
    if missing := missing_for_hosts():
        return missing
    programs = (SSHD, PYTHON, "ssh", "ssh-keygen", "rsync")
    if missing_programs := [name for name in programs if shutil.which(name) is None]:
        return f"needs {', '.join(missing_programs)}"
    check = f"import ensurepip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    if subprocess.run([PYTHON, "-c", check], capture_output=True, check=False).returncode:
        return f"needs {PYTHON} of this version of Python, with venv"
    return None


def create_key(folder: Path) -> Path:
    """Create an SSH key without a passphrase, and its public key."""
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


def install_login(host: Host, key: Path, profile: dict[str, str]) -> None:
    """Create the user's account on a host and start an SSH server.

    The account has `~/venv` with all packages except `fer_ray` itself.

    Args:
        host: A running host.
        key: The private key; its public key may log in.
        profile: Variables that `~/.profile` of the account exports.
    """
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "KEY": Path(f"{key}.pub").read_text(),
        "PACKAGES": sysconfig.get_path("purelib"),
        "VERSION": f"{sys.version_info.major}.{sys.version_info.minor}",
        "RAY": str(Path(sys.executable).with_name("ray")),
        "PROFILE": "\n".join(f"export {name}={value}" for name, value in profile.items()),
    }
    host.run("bash", "-c", ACCOUNT, env=env)
    options = [part for option in SSHD_OPTIONS for part in ("-o", option)]
    host.run(SSHD, "-f", "/dev/null", *options)
    wait_until(lambda: host.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/22", check=False))


def runs_ray(host: Host) -> bool:
    """Whether a node of Ray runs on a host."""
    return host.run("pgrep", "-f", "raylet|gcs_server", check=False).returncode == 0
