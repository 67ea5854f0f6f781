"""How we speak to Kubeflow Pipelines: one place that connects, and that turns its refusals into sentences."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.common.errors import BadInput, ExpanseError, Transient

if TYPE_CHECKING:
    from kfp_server_api import ApiClient, ApiException

#: A token, the file with one, and the address of the UI where it is not the API's: the last two are kfp's own variables.
TOKEN, TOKEN_FILE, UI = "KFP_TOKEN", "KF_PIPELINES_SA_TOKEN_PATH", "KF_PIPELINES_UI_ENDPOINT"
#: Where Kubernetes puts a service account's token for KFP, when the pod asks for one.
PROJECTED = Path("/var/run/secrets/kubeflow/pipelines/token")
#: Seconds to connect, and to wait for an answer.
PATIENCE = (10.0, 120.0)
#: The first KFP whose launcher and driver do what our pipelines ask of them.
OLDEST = (2, 17)
ALREADY_THERE = 409
#: How KFP's gateway, and other servers, say that they do not know a path; an object that is missing has a longer reason.
NO_SUCH_PATH = ("Not Found", "404 page not found", "no reason given")


@dataclass(frozen=True)
class Server:
    """What a KFP server says of itself; ``version`` is "unknown" for one that was built by hand."""

    version: str
    multi_user: bool


def connect(host: str, token_file: Path | None = None) -> "ApiClient":
    """A client of KFP's API that shows a token, if there is one: from ``token_file``, KFP_TOKEN, the file that
    KF_PIPELINES_SA_TOKEN_PATH names, or the pod's own. A file is read anew for each request, since such tokens expire.

    Not kfp.Client: that one asks for the server's health first, and where there is none prints tracebacks for half a minute.
    """
    import kfp_server_api

    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise BadInput("--host must be an address such as http://ml-pipeline.kubeflow:8888, without a password in it.")
    configuration = kfp_server_api.Configuration()
    configuration.host = host.rstrip("/")
    configuration.retries = False  # the job that uploads, or a person, tries again
    read = _token(token_file)
    if read is not None:

        def refresh(fresh: kfp_server_api.Configuration) -> None:
            fresh.api_key["authorization"] = read()

        configuration.api_key_prefix["authorization"] = "Bearer"
        configuration.refresh_api_key_hook = refresh
        refresh(configuration)
    return _impatient(kfp_server_api.ApiClient)(configuration)


def _token(given: Path | None) -> Callable[[], str] | None:
    named = os.environ.get(TOKEN_FILE)
    if given is not None:
        return lambda: _read(given, "--token-file")
    if token := os.environ.get(TOKEN):
        return lambda: token.strip()
    if named:
        return lambda: _read(Path(named), TOKEN_FILE)
    return (lambda: _read(PROJECTED, "the pod")) if PROJECTED.is_file() else None


def _read(path: Path, source: str) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{source} names {path}, which cannot be read ({error}); mount the token or unset it."
        ) from error
    if not token:
        raise BadInput(f"{source} names {path}, which is empty; put a token into it or unset it.")
    return token


def _impatient(client: Any) -> Any:
    """The generated client waits for ever unless each call says how long."""

    class Impatient(client):  # type: ignore[misc]
        def call_api(self, *arguments: Any, **settings: Any) -> Any:
            settings["_request_timeout"] = settings.get("_request_timeout") or PATIENCE
            return super().call_api(*arguments, **settings)

    return Impatient


def check_server(client: "ApiClient", host: str) -> Server:
    """What the server is; raises BadInput for one older than 2.17, or that is no KFP."""
    with explained(host, "the health check"):
        answer = client.call_api("/apis/v2beta1/healthz", "GET", response_type="object", auth_settings=["Bearer"])[0]
    if not isinstance(answer, dict) or "multi_user" not in answer:
        raise BadInput(f"{host} does not answer as Kubeflow Pipelines {_dotted(OLDEST)}; check the address.")
    version = str(answer.get("tag_name") or "unknown")
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers and tuple(map(int, numbers.groups())) < OLDEST:
        raise BadInput(
            f"{host} is Kubeflow Pipelines {version}; the pipelines need {_dotted(OLDEST)}: upgrade it first."
        )
    return Server(version, bool(answer["multi_user"]))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def named(name: str) -> str:
    """The filter of a list that holds what has this name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


@contextmanager
def explained(host: str, what: str) -> Iterator[None]:
    """Turn what the API or the network raise around ``what`` ("pipeline 'expanse-8b'") into BadInput or Transient."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise _explain(host, what, error) from error
    except (HTTPError, TimeoutError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise Transient(f"Kubeflow Pipelines at {host} cannot be reached ({reason}); try again.") from error


def _explain(host: str, what: str, error: "ApiException") -> ExpanseError:
    reason, status = _reason(error), error.status
    if status in (401, 403):
        return BadInput(
            f"Kubeflow Pipelines at {host} refuses {what} ({status}: {reason}); "
            "give the account the role for pipelines there (pipelines.token in the chart), or another token."
        )
    if status in (405, 501) or (status == 404 and reason in NO_SUCH_PATH):
        return BadInput(f"{host} does not answer as Kubeflow Pipelines 2.17 ({status}: {reason}); check the address.")
    if status and status < 500 and status not in (408, 429):
        return BadInput(f"Kubeflow Pipelines at {host} refuses {what}: {reason}.")
    return Transient(f"Kubeflow Pipelines at {host} answered {status}: {reason}; try again.")


def _reason(error: "ApiException") -> str:
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body
    try:
        text = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        text = body or error.reason or "no reason given"
    return " ".join(str(text).split())[:300].rstrip(".")
