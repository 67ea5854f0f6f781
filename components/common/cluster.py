"""How we speak to Kubernetes: one place that connects, and that turns the API's refusals into sentences."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common.errors import BadInput, ExpanseError, Transient

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, ApiException

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAMESPACE = "EXPANSE_NAMESPACE"
#: The id of the KFP run that a step's pod belongs to: what the objects that the step starts carry as a label.
RUN = "EXPANSE_RUN"
#: Statuses after which the same request may succeed later.
PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})
BAD_REQUEST, UNAUTHORISED, FORBIDDEN, NOT_FOUND, CONFLICT, INVALID = 400, 401, 403, 404, 409, 422


def connect(context: str | None = None) -> "ApiClient":
    """A client for the cluster that this pod runs in, else for the one that the kubeconfig's ``context`` names.

    Raises BadInput when there is neither.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        if context is None and (SERVICE_ACCOUNT / "token").is_file():
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(_files(), context, client_configuration=configuration)
    except config.ConfigException as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"No Kubernetes cluster is configured ({reason}); set KUBECONFIG or run in a pod.") from error
    return client.ApiClient(configuration)


def namespace(context: str | None = None) -> str:
    """The namespace to work in: EXPANSE_NAMESPACE, the pod's own, the kubeconfig context's, or "default"."""
    if named := os.environ.get(NAMESPACE):
        return named
    own = SERVICE_ACCOUNT / "namespace"
    if context is None and own.is_file():
        return own.read_text(encoding="utf-8").strip()
    return _context_namespace(context) or "default"


def _context_namespace(context: str | None) -> str | None:
    from kubernetes import config

    try:
        contexts, active = config.list_kube_config_contexts(_files())
    except config.ConfigException:
        return None
    chosen = active if context is None else next((each for each in contexts if each["name"] == context), None)
    return chosen and chosen["context"].get("namespace")


def _files() -> str | None:
    """KUBECONFIG as it is now: the client's package reads it once, when it is imported."""
    return os.environ.get("KUBECONFIG")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the API or the network raise around ``what`` ("TrainJob a/b") into BadInput or Transient."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise explain(what, error) from error
    except HTTPError as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise Transient(f"{what}: the Kubernetes API cannot be reached ({reason}); try again.") from error


def explain(what: str, error: "ApiException") -> ExpanseError:
    """The error that a refusal of the API means, with the API's own reason and a remedy.

    A quota or a priority that is used up passes by itself; a missing permission, object, definition or field does not.
    """
    message = _message(error)
    if error.status == FORBIDDEN and "exceeded quota" in message:
        return Transient(f"{what}: {message}; wait for other work to end, or have the quota raised.")
    if error.status == FORBIDDEN and "denied the request" in message:
        return BadInput(f"{what}: {message}; correct what the cluster's own checks name.")
    remedies = {
        BAD_REQUEST: "correct the object",
        UNAUTHORISED: "renew the credentials of the kubeconfig or the service account",
        FORBIDDEN: "give the service account the role of the chart, or ask for the permission",
        NOT_FOUND: "create it, or install the custom resource definition that it is of",
        INVALID: "correct the field",
    }
    if error.status in remedies:
        return BadInput(f"{what}: {message}; {remedies[error.status]}.")
    if error.status in PASSING or not error.status:
        return Transient(f"{what}: {message}; try again.")
    return ExpanseError(f"{what}: the Kubernetes API answered {error.status}: {message}.")


def _message(error: "ApiException") -> str:
    """The API's own words, one line without its last full stop."""
    text: Any = error.body if isinstance(error.body, str) else (error.body or b"").decode("utf-8", "replace")
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        text = text or str(error.reason or "no reason given")
    return " ".join(str(text).split())[:400].rstrip(".")
