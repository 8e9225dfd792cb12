"""Offline checks of the files for `ray up` and `docker build`."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).parent.parent.parent
LAUNCHED = pytest.mark.parametrize("name", ["cluster.yaml", "deploy/cluster-onprem.yaml"])
DEPLOYED = [REPO / "cluster.yaml", REPO / "Dockerfile", *sorted((REPO / "deploy").rglob("*.yaml"))]


def config(name: str) -> dict[str, Any]:
    return yaml.safe_load((REPO / name).read_text(encoding="utf-8"))


@LAUNCHED
def test_ray_accepts_the_cluster_file(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config(name))
    validate_config(prepared)
    limits = [group["max_workers"] for group in prepared["available_node_types"].values()]
    assert sum(limits) == prepared["max_workers"]


@LAUNCHED
def test_file_mounts_exist(name: str) -> None:
    mounts = config(name)["file_mounts"]
    sources = {source for source in mounts.values() if source != "~/.ray/auth_token"}
    assert all((REPO / source).exists() for source in sources)
    assert {"fer_ray", "pyproject.toml", "constraints.txt"} <= sources
    assert any(target.endswith("/.ray/auth_token") for target in mounts)


@LAUNCHED
def test_nodes_require_a_token(name: str) -> None:
    launched = config(name)
    assert "--dashboard-host=127.0.0.1" in launched["head_start_ray_commands"][-1]
    assert any("chmod 600 ~/.ray/auth_token" in step for step in launched["setup_commands"])


@LAUNCHED
@pytest.mark.parametrize("kind", ["head", "worker"])
def test_environment_of_ray_start(name: str, kind: str, tmp_path: Path) -> None:
    installed = tmp_path / "venv" / "bin"
    installed.mkdir(parents=True)
    (installed / "ray").write_text("#!/bin/sh\nenv\n")
    (installed / "ray").chmod(0o755)
    start = config(name)[f"{kind}_start_ray_commands"][-1]
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "RAY_HEAD_IP": "192.0.2.1"}
    done = subprocess.run(
        ["bash", "-c", start], env=home, capture_output=True, text=True, check=True
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert seen["PATH"].split(":")[0] == str(
        installed
    )  # otherwise `python` in a job is that of the system
    assert seen["RAY_AUTH_MODE"] == "token"
    assert seen["RAY_JOB_STOP_WAIT_TIME_S"] == "60"


@LAUNCHED
def test_nodes_install_pinned_packages(name: str) -> None:
    steps = " ".join(config(name)["setup_commands"])
    assert "--constraint ~/fer_ray/constraints.txt" in steps
    assert "fer-ray doctor --no-ray" in steps


def test_aws_nodes_are_private() -> None:
    launched = config("cluster.yaml")
    assert launched["provider"]["use_internal_ips"] is True
    for group in launched["available_node_types"].values():
        node = group["node_config"]
        assert node["IamInstanceProfile"]["Name"].startswith("fer-ray-")
        assert node[
            "SecurityGroupIds"
        ]  # otherwise Ray creates a group that allows SSH from anywhere
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert node["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_ec2_accepts_the_node_configuration() -> None:
    session = pytest.importorskip("botocore.session", reason="botocore is not installed")
    validate = pytest.importorskip("botocore.validate")
    wanted = session.get_session().get_service_model("ec2").operation_model("RunInstances")
    for group in config("cluster.yaml")["available_node_types"].values():
        request = {**group["node_config"], "MinCount": 1, "MaxCount": 1}
        subnet = {"SubnetId": request.pop("SubnetIds")[0]}  # as Ray does
        report = validate.ParamValidator().validate({**request, **subnet}, wanted.input_shape)
        assert not report.has_errors(), report.generate_report()


def test_aws_workers_are_spot_instances() -> None:
    launched = config("cluster.yaml")
    groups = launched["available_node_types"]
    assert groups["head"]["resources"] == {"CPU": 0}
    assert groups["gpu"]["resources"] == {
        "CPU": 0
    }  # otherwise the autoscaler starts it for any task
    assert "InstanceMarketOptions" not in groups["head"]["node_config"]
    for name in ("cpu", "gpu"):
        assert groups[name]["min_workers"] == 0 < groups[name]["max_workers"]
        assert groups[name]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


@pytest.mark.parametrize("file", DEPLOYED, ids=lambda file: file.name)
def test_files_contain_no_secrets(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"AKIA[0-9A-Z]{16}|BEGIN .*PRIVATE KEY|[0-9a-f]{40,}", text)
    assert not re.search(r"(?i)(password|secret_access_key|auth_token)\s*[:=]\s*['\"]?\w{8,}", text)
    assert "0.0.0.0" not in text
    assert not re.search(r":latest\b", text)


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (REPO / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage of the image, without those of its base."""
    steps = instructions()
    start = steps.index(next(step for step in steps if step[1].endswith(f" AS {name}")))
    rest = steps[start + 1 :]
    return rest[: next((i for i, (word, _) in enumerate(rest) if word == "FROM"), len(rest))]


def test_image_base_and_packages_are_pinned() -> None:
    [base] = [rest for name, rest in instructions() if name == "ARG"]
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-\w+", base)
    stages = [rest.split() for name, rest in instructions() if name == "FROM"]
    names = [name for *_, name in stages]
    assert [names[-1], *sorted({"cpu", "gpu"} & {*names})] == ["cpu", "cpu", "gpu"]
    assert all(start == "${BASE}" or start in names for start, *_ in stages)
    installs = [rest for name, rest in instructions() if "pip install" in rest]
    assert len(installs) == 4
    assert all("--constraint constraints.txt" in rest for rest in installs)


def test_image_installs_dependencies_first(tmp_path: Path) -> None:
    [written] = [rest.split(" && ")[0] for _, rest in stage("build") if "> dependencies" in rest]
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    python = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", written], cwd=tmp_path, env=python, check=True)
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = (tmp_path / "dependencies.txt").read_text().splitlines()
    [tensorflow] = set(project["dependencies"]) ^ set(installed)
    assert tensorflow.startswith("tensorflow")
    for target in ("cpu", "gpu"):
        assert any("tensorflow" in rest for _, rest in stage(f"{target}-environment"))
        copied = [rest for name, rest in stage(target) if name == "COPY"]
        assert [rest.split()[0] for rest in copied] == [
            f"--from={target}-environment", "--from=package"
        ]  # fmt: skip


def test_image_finds_its_landmark_model() -> None:
    checks = {rest for target in ("cpu", "gpu") for name, rest in stage(target) if name == "RUN"}
    [check] = checks
    check = check.replace("import keras; ", "")  # takes seconds
    python = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", check], env=python, check=True)


def test_image_environment_is_trimmed(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    removed = ("pandas/tests/test_frame.py", "tensorflow/include/a.h", "ray/jars/ray.jar", "np/a.a")
    stored = ("pandas/frame.py", "tensorflow/python/a.py", "ray/testing.py", "include.py")
    for name in (*removed, *stored):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("")
    (packages / "pyarrow").mkdir()
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/uninstalled\n')
    pip.chmod(0o755)
    subprocess.run(["sh", REPO / "deploy" / "trim_environment.sh", tmp_path], check=True)
    assert not any((packages / name).exists() for name in removed)
    assert all((packages / name).exists() for name in stored)
    assert (tmp_path / "uninstalled").read_text().split() == [
        word for name in ("libclang", "pip") for word in ("uninstall", "--yes", "--quiet", name)
    ]


def test_image_does_not_run_as_root() -> None:
    assert [rest for name, rest in stage("runtime") if name == "USER"] == ["1000:1000"]
    for target in ("cpu", "gpu"):
        assert ("FROM", f"runtime AS {target}") in instructions()
        assert {name for name, _ in stage(target)} == {"COPY", "RUN"}
        copied = [rest for name, rest in stage(target) if name == "COPY"]
        assert all("--chown=root:root" in rest for rest in copied)
    assert not any("sudo" in rest for _, rest in instructions())


def test_copied_files_reach_the_build() -> None:
    ignored = (REPO / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for name, rest in instructions()
        if name == "COPY" and "--from=" not in rest
        for source in [part for part in shlex.split(rest) if not part.startswith("--")][:-1]
    }
    assert copied == sent
    assert all((REPO / source).exists() for source in copied)
