"""Checks of the manifests that need no cluster."""

import copy
import json
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.dashboard.modules.reporter import reporter_agent

import fer_ray
from fer_ray.vocabulary import Status
from tests.deploy.shapes import mistakes

REPO = Path(__file__).parent.parent.parent
FOLDER = REPO / "deploy" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
JOBS_IN_IMAGE = "/opt/fer_ray/"  # where the Dockerfile puts jobs/
IMAGE = f"fer-ray:{fer_ray.__version__}"


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def job_spec(name: str) -> dict[str, Any]:
    [document] = documents(FOLDER / name)
    spec: dict[str, Any] = document["spec"]
    return spec.get("jobTemplate", spec)


STUDY, NIGHTLY, SWEEP = (job_spec(f"{name}.yaml") for name in ("study", "schedule", "sweep"))
EACH = pytest.mark.parametrize("spec", [STUDY, NIGHTLY, SWEEP], ids=["study", "schedule", "sweep"])


def groups(spec: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = spec["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pods(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield spec["submitterPodTemplate"]["spec"]
    yield from (group["template"]["spec"] for group in groups(spec))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_documents_are_complete(file: Path) -> None:
    for document in documents(file):
        content = "data" if document["kind"] == "ConfigMap" else "spec"
        assert {"apiVersion", "kind", "metadata", content} == document.keys()
        assert document["metadata"].keys() & {"name", "generateName"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_fields_exist(file: Path) -> None:
    assert [mistake for document in documents(file) for mistake in mistakes(document)] == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("study", "fsGroup:", "fsGrup:"),
        ("study", "seccompProfile", "seccompProfil"),
        ("study", "automountServiceAccountToken", "automountServiceAccountTokn"),
        ("study", "idleTimeoutSeconds", "idleTimeoutSecond"),
        ("study", "sizeLimit", "sizelimit"),
        ("study", "restartPolicy: Never", "restartPolicy: Nevver"),
        ("schedule", "backoffLimit: 2", 'backoffLimit: "2"'),
        ("schedule", "jobTemplate", "jobTemplat"),
        ("sweep", "secretRef", "secretRefs"),
        ("network", "port: 8265", "prt: 8265"),
        ("network", "namespaceSelector", "namespaceSelektor"),
        ("network", "matchLabels", "matchLabel"),
        ("storage", "ReadWriteMany]", "ReadWriteMny]"),
        ("monitoring", "podTargetLabels", "podTargetLabel"),
        ("monitoring", "kind: PodMonitor", "kind: PodMoniter"),
    ],
)
def test_misspelled_field_is_found(name: str, right: str, wrong: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert right in text
    spelled = yaml.safe_load_all(text.replace(right, wrong))
    assert [mistake for document in spelled for mistake in mistakes(document)]


def test_table_of_other_values_than_defaults() -> None:
    text = (FOLDER / "study.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("# | ")][2:]
    table = {field: here for field, _, here, _ in (line[4:-2].split(" | ") for line in lines)}
    cluster = STUDY["rayClusterSpec"]
    head, [workers] = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    scaler = cluster["autoscalerOptions"]
    values = {
        **{name: value for name, value in STUDY.items() if not isinstance(value, dict | str)},
        **{name: value for name, value in workers.items() if name == "maxReplicas"},
        "submitterPodTemplate": "a template",
        "authOptions": cluster["authOptions"]["mode"],
        "enableInTreeAutoscaling": cluster["enableInTreeAutoscaling"],
        "idleTimeoutSeconds": scaler["idleTimeoutSeconds"],
        "num-cpus of the head": head["rayStartParams"]["num-cpus"],
        **{
            f"{kind} of the autoscaler": ", ".join(scaler["resources"][kind].values())
            for kind in ("requests", "limits")
        },
    }
    shown = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }
    assert {name.strip(): here.strip() for name, here in table.items()} == shown


def test_schedule_runs_the_same_job() -> None:
    assert NIGHTLY["entrypoint"].replace("nightly", "study") == STUDY["entrypoint"]
    assert {**NIGHTLY, "entrypoint": ""} == {**STUDY, "entrypoint": ""}


def test_sweep_has_storage_credentials() -> None:
    sweep = copy.deepcopy(SWEEP)
    for group in groups(sweep):
        [container] = group["template"]["spec"]["containers"]
        [source] = container.pop("envFrom")
        assert source == {"secretRef": {"name": "fer-ray-object-storage", "optional": True}}
    assert {**sweep, "entrypoint": ""} == {**STUDY, "entrypoint": ""}


@pytest.mark.parametrize("name", ["schedule", "sweep"])
def test_cron_schedule_has_five_fields(name: str) -> None:
    [document] = documents(FOLDER / f"{name}.yaml")
    assert re.fullmatch(r"(\S+ ){4}\S+", document["spec"]["schedule"])


@EACH
def test_entrypoint_is_a_valid_job(spec: dict[str, Any]) -> None:
    from fer_ray.cli.main import cli

    python, script, *options = shlex.split(spec["entrypoint"])
    assert python == "python"
    job = REPO / script.removeprefix(JOBS_IN_IMAGE)
    command = re.findall(r'main\(\["(\w+)"', job.read_text())[0]
    cli.commands[command].make_context(command, options)


@EACH
def test_folders_are_on_the_volume(spec: dict[str, Any]) -> None:
    [claim] = documents(FOLDER / "storage.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in groups(spec):
        pod = group["template"]["spec"]
        claimed = {"claimName": claim["metadata"]["name"]}
        [volume] = [
            one["name"] for one in pod["volumes"] if one.get("persistentVolumeClaim") == claimed
        ]
        mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
        folders = re.findall(r"--(?:data|out|source|store) (\S+)", spec["entrypoint"])
        assert len(folders) == 2
        assert all(folder.startswith(mounted[volume] + "/") for folder in folders)


@EACH
def test_containers_are_pinned_and_limited(spec: dict[str, Any]) -> None:
    for pod in pods(spec):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert "hostNetwork" not in pod
        for container in pod["containers"]:
            assert container["image"] == IMAGE
            resources = container["resources"]
            assert resources["limits"].keys() == {"cpu", "memory"} == resources["requests"].keys()
            assert resources["limits"]["memory"] == resources["requests"]["memory"] or (
                pod is spec["submitterPodTemplate"]["spec"]
            )
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@EACH
def test_retries_and_time_limits(spec: dict[str, Any]) -> None:
    assert 1 <= spec["backoffLimit"] <= 5
    assert 0 < spec["activeDeadlineSeconds"] <= 24 * 3600
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0


@EACH
def test_cluster_scales_from_zero_with_a_token(spec: dict[str, Any]) -> None:
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "fer-ray-token"}
    assert cluster["rayVersion"] == version("ray")
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] == 0 < group["maxReplicas"]


def test_metrics_endpoint() -> None:
    [monitor] = documents(FOLDER / "monitoring.yaml")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    selected = monitor["spec"]["selector"]["matchLabels"].items()
    for group in groups(STUDY):
        ports = group["template"]["spec"]["containers"][0]["ports"]
        assert {"name": endpoint["port"], "containerPort": 8080} in ports
        assert selected <= group["template"]["metadata"]["labels"].items()


def test_dashboard_metrics_exist() -> None:
    from fer_ray.execution.cluster import prometheus

    [document] = documents(FOLDER / "dashboard.yaml")
    board = json.loads(document["data"]["fer-ray.json"])
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    shown = {name for query in queries for name in re.findall(r"ray_\w+", query)}
    counters = (prometheus.IMAGES, prometheus.COMMITS, prometheus.EXTRACTED, prometheus.TRIALS)
    gauges = (prometheus.LEFT, prometheus.EXTRACT_LEFT, prometheus.TRIALS_LEFT)
    own = {*(f"ray_{name}_total" for name in counters), *(f"ray_{name}" for name in gauges)}
    assert own <= shown
    source = Path(reporter_agent.__file__).read_text(encoding="utf-8")
    for name in shown - own - {"ray_tasks"}:  # which Ray's core exports
        assert f'"{name.removeprefix("ray_")}"' in source
    statuses = {status for query in queries for status in re.findall(r'status!~"([^"]+)"', query)}
    assert {one for text in statuses for one in text.split("|")} <= {
        status.value for status in Status
    }


def test_network_policy_applies_to_every_pod() -> None:
    [policy] = documents(FOLDER / "network.yaml")
    labels = policy["spec"]["podSelector"]["matchLabels"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert all("from" in rule and rule["from"] for rule in policy["spec"]["ingress"])
    templates = [STUDY["submitterPodTemplate"], *(group["template"] for group in groups(STUDY))]
    for template in templates:
        assert labels.items() <= template["metadata"]["labels"].items()


def test_network_policy_excludes_other_clusters() -> None:
    [policy] = documents(FOLDER / "network.yaml")
    # KubeRay's own labels of the pods that it makes (ray-operator, common/pod.go).
    another = {
        "app.kubernetes.io/name": "kuberay", "app.kubernetes.io/created-by": "kuberay-operator",
        "ray.io/cluster": "another", "ray.io/node-type": "worker", "ray.io/is-ray-node": "yes",
    }  # fmt: skip
    for rule in policy["spec"]["ingress"]:
        for peer in rule["from"]:
            assert not peer["podSelector"]["matchLabels"].items() <= another.items()
