"""Nodes of cluster.yaml, started on a local server that answers like EC2 and IAM."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.patience import wait_until
from tests.pipelines.sweeps.s3 import environment, s3_server

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
pytestmark = pytest.mark.timeout(600)
REPO = Path(__file__).parent.parent.parent
REGION = "eu-central-1"


@pytest.fixture(scope="module")
def cluster_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """cluster.yaml with the subnet, group and image of an account that has the two profiles."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("0" * 32)
    with s3_server() as port, pytest.MonkeyPatch.context() as patch:
        variables = {**environment(port), "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        for name, value in {**variables, "HOME": str(home)}.items():
            patch.setenv(name, value)
        file = home / "cluster.yaml"
        file.write_text(_with_own_values((REPO / "cluster.yaml").read_text(encoding="utf-8")))
        yield file


def _with_own_values(text: str) -> str:
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(
        VpcId=network, CidrBlock="10.0.1.0/24", AvailabilityZone=f"{REGION}a"
    )["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="fer", Description="fer", VpcId=network)["GroupId"]
    for name in ("fer-ray-head", "fer-ray-worker"):
        iam.create_instance_profile(InstanceProfileName=name)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for placeholder, value in ((r"ami-0{16}\d", image), ("sg-0{17}", group),
                               ("subnet-0{17}", subnet)):  # fmt: skip
        text = re.sub(placeholder, value, text)
    return text


def running(group: str) -> list[dict[str, Any]]:
    found = boto3.client("ec2").describe_instances(
        Filters=[{"Name": "tag:ray-user-node-type", "Values": [group]}]
    )
    return [instance for part in found["Reservations"] for instance in part["Instances"]]


def start_head(file: Path) -> None:
    ray = Path(sys.executable).parent / "ray"
    command = [ray, "up", "--yes", "--no-config-cache", "--disable-usage-stats", str(file)]
    ray_up = subprocess.Popen(
        command, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:  # it then waits for SSH on a machine that does not exist
        wait_until(lambda: bool(running("head")) or ray_up.poll() is not None, 60)
    finally:
        ray_up.kill()
        said = ray_up.communicate()[0].decode()
    assert running("head"), said


def start_worker(file: Path, group: str) -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = yaml.safe_load(file.read_text())
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node = config["available_node_types"][group]["node_config"]
    provider.create_node(node, {"ray-user-node-type": group}, 1)


@pytest.mark.parametrize(
    ("group", "machine", "profile", "spot", "disk_gib"),
    [
        pytest.param("head", "m6i.large", "fer-ray-head", False, 40, marks=pytest.mark.thorough),
        ("cpu", "c6i.4xlarge", "fer-ray-worker", True, 40),
        ("gpu", "g5.xlarge", "fer-ray-worker", True, 150),
    ],
)
def test_instances(
    cluster_file: Path, group: str, machine: str, profile: str, spot: bool, disk_gib: int
) -> None:
    if group == "head":
        start_head(cluster_file)
    else:
        start_worker(cluster_file, group)
    wanted = yaml.safe_load(cluster_file.read_text())["available_node_types"]["head"]["node_config"]
    [instance] = running(group)
    assert instance["InstanceType"] == machine
    assert instance["ImageId"] == wanted["ImageId"]
    assert instance["SubnetId"] == wanted["SubnetIds"][0]
    assert [found["GroupId"] for found in instance["SecurityGroups"]] == wanted["SecurityGroupIds"]
    assert "PublicIpAddress" not in instance
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert (instance.get("InstanceLifecycle") == "spot") is spot
    assert {"Key": "ray-cluster-name", "Value": "fer-ray"} in instance["Tags"]
    assert profile_of(instance) == profile
    [disk] = disks_of(instance)
    assert (disk["Size"], disk["VolumeType"], disk["Encrypted"]) == (disk_gib, "gp3", True)


def profile_of(instance: dict[str, Any]) -> str:
    return str(instance["IamInstanceProfile"]["Arn"]).split("/")[-1]


def disks_of(instance: dict[str, Any]) -> list[dict[str, Any]]:
    found = boto3.client("ec2").describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    )
    return list(found["Volumes"])
