"""The chart rendered by real Helm, over the value sets that every test of it goes through, and the checks they share."""

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "expanse"
MINICLUSTER = Path(os.environ.get("EXPANSE_MINICLUSTER", ROOT.parent / "shared" / "minicluster"))
CRDS = MINICLUSTER.parent / "crds"
EXAMPLES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "examples").glob("*.yaml"))}
VALUE_SETS = {
    "defaults": {},
    **EXAMPLES,
    "shared-namespace": {"networkPolicies": {"wholeNamespace": False}, "runtimes": {"training": False}},
    "mlflow-elsewhere": {"mlflow": {"enabled": False, "externalUri": "https://mlflow.example.com"}},
    "pod-identity": {
        "storage": {"secret": "", "region": "eu-central-1"},
        "tokens": {"secret": ""},
        "serviceAccounts": {
            name: {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/expanse"}}
            for name in ("pipeline", "serving", "mlflow")
        },
    },
    "multi-user-kfp": {
        "kfp": {
            "namespace": "kubeflow",
            "host": "https://kfp.example.com/pipeline",
            "launcher": {
                "create": True,
                "pipelineRoot": "s3://pipelines/root",
                "providers": {"s3": {"default": {"endpoint": "s3.amazonaws.com", "region": "eu-central-1"}}},
            },
        },
        "pipelines": {
            "token": True,
            "recipes": ["8b"],
            "ownRecipes": {"ours-8b": {"extends": "8b", "description": "ours: with {{ braces }} and\ttabs", "seed": 3}},
        },
        "images": {"pullSecrets": ["registry"]},
        "monitoring": {"serviceMonitor": True, "dashboard": True, "labels": {"release": "prometheus"}},
    },
    "nothing": {
        "mlflow": {"enabled": False},
        "pipelines": {"upload": False},
        "data": {"size": ""},
        "runtimes": {"serving": False, "training": False},
        "networkPolicies": {"enabled": False},
        "quota": {"hard": None},
        "limitRange": {"default": None, "defaultRequest": None},
    },
}
every_value_set = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)


def render(values=None, namespace="expanse"):
    """All objects that a release with these values holds, hooks included."""
    objects = []
    for path, text in sorted(rendered(values, namespace).items()):
        if path.endswith(".yaml"):
            objects += [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    return objects


def rendered(values=None, namespace="expanse"):
    """What each template came to, by its path."""
    pytest.importorskip("helm_python", reason="helm-python-sdk (real Helm) is not installed on this machine")
    return _rendered(json.dumps(values or {}), namespace)


@cache
def _rendered(values, namespace):
    import helm_python

    return helm_python.Chart.load(CHART).render(json.loads(values), name="expanse", namespace=namespace)


def find(objects, kind, name):
    """The one object of this kind and name."""
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def pods(document) -> Iterator[dict]:
    """Every pod specification inside a document, at whatever depth its kind keeps it."""
    if isinstance(document, list):
        for each in document:
            yield from pods(each)
    elif isinstance(document, dict):
        if isinstance(document.get("containers"), list):
            yield document
        for value in document.values():
            yield from pods(value)


def strict_schema(kind, version):
    """The schema of a custom resource with every unknown field an error; None where no definition is at hand."""
    for path in CRDS.glob(f"{kind.lower()}*.*.yaml"):
        definition = yaml.load(path.read_text(), yaml.CSafeLoader)
        if definition["spec"]["names"]["kind"] == kind:
            versions = {each["name"]: each["schema"]["openAPIV3Schema"] for each in definition["spec"]["versions"]}
            return _closed(versions[version], top=True)
    return None


def _closed(schema, top=False):
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = {key: _closed(value) for key, value in schema.items() if key not in ("properties", "format")}
    if isinstance(schema.get("properties"), dict):
        closed["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        if top:
            closed["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed["additionalProperties"] = False
    return closed


def canonical(document):
    """A text that is equal for equal documents."""
    return json.dumps(document, sort_keys=True, indent=1)
