"""Kubeflow Pipelines' API on loopback: the v2beta1 JSON that its generated client reads, kept in memory."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]


class Kfp(ThreadingHTTPServer):
    """Pipelines, versions, experiments and runs.

    ``refusal`` is a status that every request gets; ``refusals`` are statuses of paths. ``states`` are the answers that a
    run gives, one a request, the last one for ever; a status code among them is an answer without a body. ``logs`` are by pod.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pipelines: dict[str, str] = {}
        self.versions: dict[str, list[str]] = {}
        self.experiments: dict[str, Document] = {}
        self.runs: list[Document] = []
        self.packages: list[bytes] = []
        self.authorizations: list[str | None] = []
        self.states: list[Document | int] = [{"state": "SUCCEEDED"}]
        self.logs: dict[str, str] = {}
        self.refusal: int | None = None
        self.refusals: dict[str, int] = {}
        self.late = False
        self.health: Document = {"commit_sha": "abc", "tag_name": "2.17.0", "multi_user": False}
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        if self.thread.is_alive():
            self.shutdown()
            self.server_close()
            self.thread.join()


class Handler(BaseHTTPRequestHandler):
    server: Kfp

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, document: Any, status: int = 200) -> None:
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(document, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self) -> tuple[str | None, dict[str, str], bytes]:
        """The path, the query and the body; no path when the request was refused."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.authorizations.append(self.headers.get("Authorization"))
        parts = urlsplit(self.path)
        query = {key: value for key, (value, *_) in parse_qs(parts.query).items()}
        refusal = self.server.refusal or self.server.refusals.get(parts.path)
        if refusal:
            self.answer({"code": 1, "message": "Not Found" if refusal == 404 else "for a reason."}, refusal)
            return None, query, body
        return parts.path.removeprefix("/apis"), query, body

    def do_GET(self) -> None:
        path, query, _ = self.begin()
        if path is None:
            return
        wanted = json.loads(query["filter"])["predicates"][0]["stringValue"] if "filter" in query else ""
        if path == "/v2beta1/healthz":
            self.answer(self.server.health)
        elif path.endswith("/versions"):
            known = self.server.versions.get(path.split("/")[-2], [])
            self.answer({"pipeline_versions": [version(wanted)]} if wanted in known else {})
        elif path == "/v2beta1/pipelines":
            self.list_pipelines(wanted)
        elif path == "/v2beta1/experiments":
            found = [each for each in self.server.experiments.values() if each["display_name"] == wanted]
            self.answer({"experiments": [each for each in found if each.get("namespace") == query.get("namespace")]})
        elif match := re.fullmatch(r"/v2beta1/runs/(.+)", path):
            self.show_run(match[1])
        elif match := re.fullmatch(r"/v1alpha1/runs/.+/nodes/(.+)/log", path):
            log = self.server.logs.get(match[1])
            self.answer(log, 200) if log is not None else self.answer({"message": "the pod is gone"}, 404)
        else:
            self.answer({"code": 5, "message": "Not Found"}, 404)

    def list_pipelines(self, wanted: str) -> None:
        if wanted in self.server.pipelines and not self.server.late:
            self.answer({"pipelines": [{"pipeline_id": self.server.pipelines[wanted], "display_name": wanted}]})
        else:
            self.server.late = False
            self.answer({})

    def show_run(self, run: str) -> None:
        states = self.server.states
        state = states.pop(0) if len(states) > 1 else states[0]
        if isinstance(state, int):
            self.answer({"message": "come back later"}, state)
        else:
            self.answer({"run_id": run, **state})

    def do_POST(self) -> None:
        path, query, body = self.begin()
        if path is None:
            return
        if path.endswith("/upload_version"):
            self.take_version(query["name"], query["pipelineid"], body)
            return
        document = json.loads(body)
        if path == "/v2beta1/pipelines":
            self.take_pipeline(document["display_name"])
        elif path == "/v2beta1/experiments":
            made = {**document, "experiment_id": f"id-of-{document['display_name']}"}
            self.server.experiments[made["experiment_id"]] = made
            self.answer(made)
        elif path == "/v2beta1/runs":
            self.server.runs.append(document)
            self.answer({**document, "run_id": f"run-{len(self.server.runs)}", "state": "PENDING"})
        else:
            self.answer({"code": 5, "message": "Not Found"}, 404)

    def take_version(self, name: str, pipeline: str, body: bytes) -> None:
        known = self.server.versions.setdefault(pipeline, [])
        if name in known:
            self.answer({"message": "exists"}, 409)
            return
        known.append(name)
        self.server.packages.append(body)
        self.answer({"pipeline_id": pipeline, **version(name)})

    def take_pipeline(self, name: str) -> None:
        if name in self.server.pipelines:
            self.answer({"message": "exists"}, 409)
            return
        self.server.pipelines[name] = f"id-of-{name}"
        self.answer({"pipeline_id": f"id-of-{name}", "display_name": name})


def version(name: str) -> Document:
    return {"pipeline_version_id": f"version-{name}", "display_name": name}


def node(name: str, state: str, pod: str = "", children: tuple[str, ...] = (), start: int = 0, **more: Any) -> Document:
    """One of Argo's nodes as KFP lists it among the tasks of a run."""
    times = {"start_time": f"2026-01-01T00:00:{start:02d}Z", "end_time": f"2026-01-01T00:01:{start:02d}Z"}
    below = {"child_tasks": [{"pod_name": child} for child in children]}
    return {"display_name": name, "state": state, "pod_name": pod, **times, **below, **more}


def run_of(state: str, *nodes: Document, **more: Any) -> Document:
    """What KFP answers when it is asked for a run."""
    return {"state": state, "run_details": {"task_details": list(nodes)}, **more}
