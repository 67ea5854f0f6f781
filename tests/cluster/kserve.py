"""The part of KServe's controller that tests need: it writes the status of InferenceServices, as the test says."""

import threading
import time

from components.common.inference.services import Services

READY = {
    "conditions": [{"type": "Ready", "status": "True"}],
    "url": "http://model.example.test",
    "address": {"url": "http://model.svc.cluster.local"},
}


class Controller:
    """Gives each service whose status is not of its generation the status that ``verdict(service)`` returns."""

    def __init__(self, services, verdict=lambda service: READY):
        self.services, self.verdict = services, verdict
        self.seen = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.05):
            for service in listed(self.services):
                self._judge(service)

    def _judge(self, service):
        generation = service["metadata"]["generation"]
        if (service.get("status") or {}).get("observedGeneration") == generation:
            return
        status = self.verdict(service)
        if status is not None:
            self.seen.append(service)
            write_status(self.services, service["metadata"]["name"], {**status, "observedGeneration": generation})


def listed(services):
    return services._custom.list_namespaced_custom_object(**services._where)["items"]


def write_status(services, name, status):
    services._custom.patch_namespaced_custom_object_status(**services._where, name=name, body={"status": status})


def not_ready(reason, message="", **model):
    found = {"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": message}]}
    return found | ({"modelStatus": {"states": {"activeModelState": ""}, **model}} if model else {})


def make_pod(services, service, **status):
    """A pod of a service in the given state."""
    name = f"{service}-predictor-0"
    container = {"name": "kserve-container", "image": "registry.example.test/vllm:1"}
    labels = {"serving.kserve.io/inferenceservice": service}
    body = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}
    services._core.create_namespaced_pod(services.namespace, body)
    services._core.patch_namespaced_pod_status(name, services.namespace, {"status": status})


def waiting(reason, message="", last=None):
    """The status of a pod whose container waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    each = {"name": "kserve-container", "image": "registry.example.test/vllm:1", "imageID": "", "ready": False}
    ended = {"lastState": {"terminated": last}} if last else {}
    return {"containerStatuses": [{**each, "restartCount": 3, "state": state, **ended}]}


def until(condition, seconds=30):
    """Wait for ``condition()`` to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.05)


__all__ = ["READY", "Controller", "Services", "listed", "make_pod", "not_ready", "until", "waiting", "write_status"]
