"""TLS between the hosts of a cluster, and what answers to another host."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fer_ray.storage.parquet import read_table
from tests.cluster.host_cluster import FIRST, HEAD, PORT, STORAGE, HostCluster, open_cluster
from tests.cluster.hosts import NETWORK, missing_for_hosts
from tests.object_store import upload
from tests.patience import patience, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing_for_hosts() is not None, reason=str(missing_for_hosts())),
]
DASHBOARD, AGENT = 8265, 52365
SUBJECT_NAMES = ",".join(f"IP:{NETWORK}.{10 + number}" for number in (HEAD, FIRST, 3, STORAGE))
# Prints what each open port of a host answers to an HTTP request without a token.
SCAN = """
import json, socket, sys

def request(address, port):
    with socket.create_connection((address, port), 5) as connection:
        connection.settimeout(5)
        connection.sendall(b"GET /metrics HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
        answer = b""
        try:
            while len(answer) < 4096 and (part := connection.recv(4096)):
                answer += part
        except OSError:
            pass
        return answer.decode("latin-1")

answers = {}
for port in range(1, 65536):
    try:
        answers[port] = request(sys.argv[1], port)
    except ConnectionRefusedError:
        continue
    except OSError as problem:
        answers[port] = repr(problem)
print(json.dumps(answers))
"""


def create_certificates(folder: Path) -> dict[str, str]:
    """Create an authority and one certificate for all hosts; the variables that Ray reads."""
    folder.mkdir()
    (folder / "names").write_text(f"subjectAltName={SUBJECT_NAMES},IP:127.0.0.1")
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    for command in (
        ("req", "-x509", *key, "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2"),
        ("req", *key, "host.key", "-out", "host.csr", "-subj", "/CN=fer-ray"),
        ("x509", "-req", "-in", "host.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
         "-CAcreateserial", "-extfile", "names", "-out", "host.crt"),
    ):  # fmt: skip
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    return {
        "RAY_USE_TLS": "1", "RAY_TLS_SERVER_CERT": str(folder / "host.crt"),
        "RAY_TLS_SERVER_KEY": str(folder / "host.key"), "RAY_TLS_CA_CERT": str(folder / "ca.crt"),
    }  # fmt: skip


def scan(cluster: HostCluster, number: int) -> dict[int, str]:
    """Answers of a host to another one, by port."""
    address = cluster.hosts[number].address
    done = cluster.storage.run(sys.executable, "-c", SCAN, address)
    return {int(port): answer for port, answer in json.loads(done.stdout).items()}


def test_encrypted_cluster_answers_only_with_metrics(
    tiny_corpus: Path, tiny_frames: Path, tmp_path: Path
) -> None:
    variables = create_certificates(tmp_path / "certificates")
    with open_cluster(tmp_path, variables=variables, dashboard=True) as cluster:
        upload(tiny_corpus, cluster.bucket / "data")
        out = cluster.bucket / "run"
        job = ("extract", "--data", cluster.bucket / "data", "--frames", "all",
               "--set", "execution.block_images=1", "--out")  # fmt: skip
        driver = cluster.drive(*job, out)
        wait_until(lambda: driver.poll() is not None or any(out.rglob("*.parquet")))
        answers = {number: scan(cluster, number) for number in (HEAD, FIRST)}
        said, _ = driver.communicate(timeout=patience(300))
        assert driver.returncode == 0, said
        assert read_table(out / "frames").equals(read_table(tiny_frames))
        unencrypted = cluster.drive(*job, cluster.bucket / "other", RAY_USE_TLS="0")
        refusal, _ = unencrypted.communicate(timeout=patience(120))
    assert PORT in answers[HEAD]
    assert DASHBOARD not in answers[HEAD]
    for by_port in answers.values():
        assert "401 Unauthorized" in by_port[AGENT]
        contents = {text for text in by_port.values() if text and "401 Unauthorized" not in text}
        assert contents
        assert all("\n# TYPE " in text for text in contents), contents  # metrics
    assert unencrypted.returncode == 2, refusal
    assert "a cluster with TLS needs RAY_USE_TLS=1" in refusal
