"""What an InferenceService notes about itself: whether its model is proven, what it can go back to, what it has served."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from components.common.canonical import digest
from components.common.inference.objects import GROUP, PART_OF, SPECIFICATION, VERSION, Object
from components.common.releases.history import event

#: On a service that has not answered its probes yet; and what it was before, as JSON, where it was something.
UNPROVEN, PREVIOUS, RUN = "expanse.dev/unproven", "expanse.dev/previous", "expanse.dev/run"
#: Who has made the latest change, for the sentence that another one reads.
BY = "expanse.dev/by"
#: What it has served, the latest first, as JSON; and how it is probed.
SERVED, PROBES = "expanse.dev/served", "expanse.dev/probes"
KEPT = 10  # specifications of two kilobytes; an object's annotations may have 256
#: The model before serves until the new one is ready, and its started answers may finish: KServe's default is 30 seconds.
STANDING = {
    "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
    "terminationGracePeriodSeconds": 120,
}


@dataclass(frozen=True)
class Proven:
    """A specification that got ready and answered its probes; ``version`` is "MODEL/N" where the registry knows it."""

    uri: str
    version: str
    when: str
    who: str
    specification: str
    spec: dict[str, Any]


def annotations_of(service: Object) -> dict[str, str]:
    """The service's annotations."""
    return dict(service["metadata"].get("annotations") or {})


def annotated(service: Object, changes: dict[str, str | None]) -> Object:
    """The service with these annotations; None takes one away."""
    merged = {**annotations_of(service), **changes}
    kept = {key: value for key, value in merged.items() if value is not None}
    return {**service, "metadata": {**service["metadata"], "annotations": kept}}


def is_ours(service: Object) -> bool:
    """Whether the platform has made it."""
    labels = service["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in PART_OF.items())


def specification(service: Object) -> str | None:
    """The digest of what was asked for."""
    return annotations_of(service).get(SPECIFICATION)


def uri_of(service: Object) -> str:
    """Where the weights are that it serves."""
    return str(((service["spec"].get("predictor") or {}).get("model") or {}).get("storageUri", ""))


def served(service: Object) -> list[Proven]:
    """What it has served, the latest first; nothing where the note was damaged."""
    try:
        return [Proven(**each) for each in json.loads(annotations_of(service).get(SERVED, "[]"))]
    except (ValueError, TypeError):
        return []


def proven(service: Object, version: str) -> Object:
    """The service marked as one that answered, with what it serves on top of what it has served."""
    now = event("deployed", "", "", version, "")
    latest = Proven(uri_of(service), version, now.when, now.who, specification(service) or "", service["spec"])
    before = served(service)
    known = bool(before) and (before[0].uri, before[0].specification) == (latest.uri, latest.specification)
    entries = before if known else [latest, *before][:KEPT]
    text = json.dumps([asdict(each) for each in entries], ensure_ascii=False, separators=(",", ":"))
    return annotated(service, {UNPROVEN: None, PREVIOUS: None, SERVED: text})


def with_model(service: Object, uri: str) -> Object:
    """The object that serves ``uri`` as this service has served it before, else as it serves the present model."""
    metadata = service["metadata"]
    before = next((each for each in served(service) if each.uri == uri), None)
    if before:
        spec, mark = before.spec, before.specification
    else:
        predictor = service["spec"]["predictor"]
        model = {**predictor["model"], "storageUri": uri}
        spec = {**service["spec"], "predictor": {**predictor, "model": model, **STANDING}}
        mark = digest(spec)[:32]
    kept = {key: value for key, value in annotations_of(service).items() if key.startswith(f"{GROUP}/")}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceService",
        "metadata": {
            "name": metadata["name"],
            "labels": metadata.get("labels", {}),
            "annotations": {**kept, SPECIFICATION: mark},
        },
        "spec": spec,
    }
