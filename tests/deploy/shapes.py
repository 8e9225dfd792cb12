"""The fields of Kubernetes, KubeRay 1.6 and Prometheus that the manifests use.

An API server silently drops most fields that it does not know. A shape is a type, a
set of words, a list of one shape, or the shapes of fields; `FREE` maps arbitrary names to text.
"""

from typing import Any

FREE = {str: str}
QUANTITIES = {"cpu": str, "memory": str}
METADATA = {"name": str, "generateName": str, "labels": FREE}
SELECTOR = {"matchLabels": FREE}

POD = {
    "restartPolicy": {"Never", "OnFailure", "Always"},
    "automountServiceAccountToken": bool,
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "runAsGroup": int,
        "fsGroup": int,
        "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
        "seccompProfile": {"type": {"RuntimeDefault", "Unconfined", "Localhost"}},
    },
    "containers": [
        {
            "name": str,
            "image": str,
            "envFrom": [{"secretRef": {"name": str, "optional": bool}}],
            "ports": [{"name": str, "containerPort": int}],
            "resources": {"requests": QUANTITIES, "limits": QUANTITIES},
            "securityContext": {
                "allowPrivilegeEscalation": bool,
                "capabilities": {"drop": [{"ALL"}]},
            },
            "volumeMounts": [{"name": str, "mountPath": str}],
        }
    ],
    "volumes": [
        {
            "name": str,
            "persistentVolumeClaim": {"claimName": str},
            "emptyDir": {"medium": {"", "Memory"}, "sizeLimit": str},
        }
    ],
}
TEMPLATE = {"metadata": {"labels": FREE}, "spec": POD}
GROUP = {"rayStartParams": FREE, "template": TEMPLATE}
RAY_JOB = {
    "entrypoint": str,
    "backoffLimit": int,
    "activeDeadlineSeconds": int,
    "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
    "submitterConfig": {"backoffLimit": int},
    "submitterPodTemplate": TEMPLATE,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "rayClusterSpec": {
        "rayVersion": str,
        "authOptions": {"mode": {"token", "disabled"}, "secretName": str},
        "enableInTreeAutoscaling": bool,
        "autoscalerOptions": {
            "version": {"v1", "v2"},
            "idleTimeoutSeconds": int,
            "resources": POD["containers"][0]["resources"],
            "securityContext": POD["containers"][0]["securityContext"],
        },
        "headGroupSpec": {**GROUP, "serviceType": {"ClusterIP", "NodePort", "LoadBalancer"}},
        "workerGroupSpecs": [
            {
                **GROUP,
                "groupName": str,
                "replicas": int,
                "minReplicas": int,
                "maxReplicas": int,
            }
        ],
    },
}
SCRAPED = [{"port": str, "interval": str, "scrapeTimeout": str}]
SPECS: dict[tuple[str, str], Any] = {
    ("ray.io/v1", "RayJob"): RAY_JOB,
    ("ray.io/v1", "RayCronJob"): {"schedule": str, "jobTemplate": RAY_JOB},
    ("v1", "PersistentVolumeClaim"): {
        "accessModes": [{"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}],
        "storageClassName": str,
        "resources": {"requests": {"storage": str}},
    },
    ("networking.k8s.io/v1", "NetworkPolicy"): {
        "podSelector": SELECTOR,
        "policyTypes": [{"Ingress", "Egress"}],
        "ingress": [
            {
                "from": [{"podSelector": SELECTOR, "namespaceSelector": SELECTOR}],
                "ports": [{"port": int, "protocol": {"TCP", "UDP", "SCTP"}}],
            }
        ],
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "selector": SELECTOR,
        "podMetricsEndpoints": SCRAPED,
        "podTargetLabels": [str],
    },
}


def mistakes(document: dict[str, Any]) -> list[str]:
    """The parts of a manifest that a server would drop or reject."""
    kind = (document["apiVersion"], document["kind"])
    if kind == ("v1", "ConfigMap"):
        content: Any = {"data": FREE}
    elif kind in SPECS:
        content = {"spec": SPECS[kind]}
    else:
        return [f"unknown: {kind}"]
    whole = {"apiVersion": str, "kind": str, "metadata": METADATA, **content}
    return _mistakes(document, whole, "")


def _mistakes(value: Any, shape: Any, where: str) -> list[str]:
    if isinstance(shape, type):
        return [] if type(value) is shape else [f"{where}: {value!r} is no {shape.__name__}"]
    if isinstance(shape, set):
        return [] if value in shape else [f"{where}: {value!r} is none of {sorted(shape)}"]
    if type(value) is not type(shape):
        return [f"{where}: {value!r} is no {type(shape).__name__}"]
    if isinstance(shape, list):
        return [
            found
            for number, item in enumerate(value)
            for found in _mistakes(item, shape[0], f"{where}[{number}]")
        ]
    found = []
    for name, inner in value.items():
        known = shape.get(str) if shape == FREE else shape.get(name)
        if known is None:
            found.append(f"{where}.{name}: no such field")
        else:
            found += _mistakes(inner, known, f"{where}.{name}")
    return found
