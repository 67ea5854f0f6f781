"""A step's pod as KFP 2.17 makes it of the compiled file: its compiler's defaults, then what its driver patches in."""

from typing import Any

Document = dict[str, Any]


def pod(name: str, container: Document, settings: Document) -> Document:
    """The pod of one step; ``container`` is its executor in the graph, ``settings`` are its Kubernetes settings."""
    volumes, mounts = _volumes(settings)
    identity = settings["securityContext"]
    main = {
        "name": "main",
        "image": container["image"],
        "command": container["command"],
        "args": container["args"],
        "env": [*container["env"], *_references(settings)],
        "resources": _resources(container["resources"]),
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
            "runAsUser": int(identity["runAsUser"]),
            "runAsGroup": int(identity["runAsGroup"]),
            "runAsNonRoot": identity["runAsNonRoot"],
        },
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [main],
        "volumes": volumes,
        "nodeSelector": settings.get("nodeSelector", {}).get("labels", {}),
        "tolerations": settings.get("tolerations", []),
        "imagePullSecrets": [{"name": each["secretName"]} for each in settings.get("imagePullSecret", [])],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    if "activeDeadlineSeconds" in settings:
        spec["activeDeadlineSeconds"] = int(settings["activeDeadlineSeconds"])
    metadata = {"name": name, "labels": {**settings["podMetadata"]["labels"], "pipeline/runid": "a-run"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _resources(resources: Document) -> Document:
    limits = {"cpu": resources["resourceCpuLimit"], "memory": resources["resourceMemoryLimit"]}
    requests = {"cpu": resources["resourceCpuRequest"], "memory": resources["resourceMemoryRequest"]}
    if accelerator := resources.get("accelerator"):
        limits[accelerator["resourceType"]] = accelerator["resourceCount"]
    return {"limits": limits, "requests": requests}


def _references(settings: Document) -> list[Document]:
    """Environment variables that come from elsewhere."""
    found = [
        _variable(each["name"], "fieldRef", {"fieldPath": each["fieldPath"]}) for each in settings["fieldPathAsEnv"]
    ]
    for kind, reference, name, key in (
        ("secretAsEnv", "secretKeyRef", "secretName", "secretKey"),
        ("configMapAsEnv", "configMapKeyRef", "configMapName", "configMapKey"),
    ):
        for source in settings.get(kind, []):
            about = {"name": source[name], "optional": source["optional"]}
            found += [_variable(each["envVar"], reference, {**about, "key": each[key]}) for each in source["keyToEnv"]]
    return found


def _variable(name: str, kind: str, source: Document) -> Document:
    return {"name": name, "valueFrom": {kind: source}}


def _volumes(settings: Document) -> tuple[list[Document], list[Document]]:
    volumes = [(each, _claim(each["constant"])) for each in settings.get("pvcMount", [])]
    volumes += [(each, _ephemeral(each)) for each in settings.get("genericEphemeralVolume", [])]
    volumes += [(each, _empty(each)) for each in settings.get("emptyDirMounts", [])]
    mounts = [{"name": volume["name"], "mountPath": each["mountPath"]} for each, volume in volumes]
    return [volume for _, volume in volumes], mounts


def _claim(name: str) -> Document:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def _ephemeral(mount: Document) -> Document:
    spec = {"accessModes": mount["accessModes"], "resources": {"requests": {"storage": mount["size"]}}}
    if not mount.get("defaultStorageClass"):
        spec["storageClassName"] = mount["storageClassName"]
    return {"name": mount["volumeName"], "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}


def _empty(mount: Document) -> Document:
    return {
        "name": mount["volumeName"],
        "emptyDir": {"medium": mount.get("medium", ""), "sizeLimit": mount["sizeLimit"]},
    }
