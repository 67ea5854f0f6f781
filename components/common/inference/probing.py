"""From the address of a service to the one of its OpenAI interface, once it answers there."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.common.addresses import check_url
from components.common.errors import Transient

if TYPE_CHECKING:
    import httpx

#: vLLM's own server, and KServe's (ours among them).
PATHS = ("/v1", "/openai/v1")
SECONDS = 10.0


def base_url(address: str, model: str, poll: float, seconds: float) -> str:
    """The base URL at which ``model`` is listed; raises Transient when none lists it within ``seconds``.

    A service is ready a moment before every node can route to it.
    """
    import httpx

    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=SECONDS, trust_env=False) as client:
        while True:
            seen = []
            for path in PATHS:
                listed = _models(client, address + path)
                if model in listed.names:
                    return address + path
                seen.append(f"{path}/models: {listed.otherwise or ', '.join(listed.names) or 'no model'}")
            if time.monotonic() >= deadline:
                raise Transient(
                    f"{address} is ready but lists no model {model!r} ({'; '.join(seen)}); see the runtime's arguments."
                )
            time.sleep(poll)


@dataclass(frozen=True)
class _Listed:
    """The models that are served, or what was answered instead."""

    names: Sequence[str] = ()
    otherwise: str = ""


def _models(client: "httpx.Client", url: str) -> _Listed:
    import httpx

    try:
        check_url(url)  # every time: the name of a new service is not known everywhere at once
        reply = client.get(f"{url}/models")
        return _Listed([str(each["id"]) for each in reply.raise_for_status().json()["data"]])
    except httpx.HTTPStatusError as error:
        return _Listed(otherwise=f"status {error.response.status_code}")
    except (httpx.HTTPError, Transient) as error:
        return _Listed(otherwise=str(error) or type(error).__name__)
    except (ValueError, KeyError, TypeError):
        return _Listed(otherwise="no list of models")
