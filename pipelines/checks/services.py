"""Kubeflow Pipelines and MLflow: they answer, and are new enough."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from components.common.errors import BadInput, Transient
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.checks.web import ask, fields, is_inside

KFP, MLFLOW = "Kubeflow Pipelines", "MLflow"
TRACKING, TOKEN = "MLFLOW_TRACKING_URI", "KFP_TOKEN"
#: The first releases with what our graph and our records need: see docs/dependencies.md.
KFP_FLOOR, MLFLOW_FLOOR = (2, 17), (3, 0)


def service_checks(host: str | None) -> list[Check]:
    """``host`` is the address of the KFP API, as ``expanse submit`` takes it."""
    tracking = os.environ.get(TRACKING)
    return [
        Check(
            KFP, lambda: look_at_kfp(host) if host else skipped(KFP, "not configured", "give its address with --host")
        ),
        Check(
            MLFLOW,
            lambda: look_at_mlflow(tracking) if tracking else skipped(MLFLOW, "not configured", f"set {TRACKING}"),
        ),
    ]


def look_at_kfp(host: str) -> Finding:
    """The API's own account of itself; its version is in there from the manifests' build."""
    token = os.environ.get(TOKEN, "").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = ask(f"{host.rstrip('/')}/apis/v2beta1/healthz", headers)
    if response.status_code in (301, 302, 303, 307, 308, 401, 403):
        raise BadInput(f"{host} wants a login (status {response.status_code}); set {TOKEN} to a token for it.")
    document = fields(response)
    if response.status_code != 200 or not document:
        raise BadInput(f"{host} is not the KFP v2beta1 API (status {response.status_code}); correct --host.")
    named = str(document.get("tag_name") or document.get("apiServerTagName") or "")
    if not (version := release(named)):
        sentence = f"{host} answers and does not say which version it is"
        return Finding("warning", KFP, sentence, f"see that it is {_written(KFP_FLOOR)} or newer")
    if version < KFP_FLOOR:
        raise BadInput(f"{host} is KFP {named}, older than {_written(KFP_FLOOR)}; update it, nested pipelines need it.")
    return ok(KFP, f"{host} is version {named}")


def look_at_mlflow(uri: str) -> Finding:
    """A server's version, or that the folder of a database can be reached."""
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).absolute().parent
        if not os.access(folder, os.W_OK):
            raise BadInput(f"{folder} cannot be written, where {TRACKING} keeps its database; correct the variable.")
        return ok(MLFLOW, f"{uri} can be written")
    if urlsplit(uri).scheme not in ("http", "https"):
        return skipped(MLFLOW, f"{uri} is neither a server's address nor sqlite:///")
    try:
        response = ask(f"{uri.rstrip('/')}/version", _mlflow_login())
    except Transient:
        if is_inside(uri):
            return skipped(MLFLOW, f"{uri} is inside a cluster", "run the check in a pod of the cluster")
        raise
    named = response.text.strip()[:40]
    if response.status_code == 403 and "host" in named.lower():
        raise BadInput(f"{uri} refuses this host name; start MLflow with --allowed-hosts that names it.")
    if response.status_code in (401, 403):
        raise BadInput(f"{uri} refuses these credentials; set MLFLOW_TRACKING_TOKEN, or user name and password.")
    version = release(named)
    if response.status_code != 200 or not version:
        raise BadInput(f"{uri} is not an MLflow server (status {response.status_code}); correct {TRACKING}.")
    if version < MLFLOW_FLOOR:
        raise BadInput(f"{uri} is MLflow {named}, older than {_written(MLFLOW_FLOOR)}; update the server.")
    return ok(MLFLOW, f"{uri} is version {named}")


def _mlflow_login() -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def release(text: str) -> tuple[int, int] | None:
    """Major and minor of "2.17.0" or "v2.17.0-rc.1"; None for text that is no version."""
    parts = text.removeprefix("v").split(".")
    if len(parts) < 2 or not parts[0].isdigit() or not parts[1].isdigit():
        return None
    return int(parts[0]), int(parts[1])


def _written(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
