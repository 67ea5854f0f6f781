"""One request of a check: bounded in time and size, and no secrets in what it says."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from components.common.errors import BadInput, Transient

SECONDS = 10.0
LONGEST = 4_000_000
MOVED = frozenset({301, 302, 307, 308})
REDIRECTS = 3
INSIDE = (".svc", ".svc.cluster.local", ".cluster.local")


def ask(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET", document: Any = None
) -> httpx.Response:
    """The response of ``url``, whatever its status; redirects are followed on the same host, where the key belongs.

    ``document`` is sent as JSON.

    Raises BadInput for an address that is none, Transient when nothing answers or the service itself fails.
    """
    where = urlsplit(url).netloc
    if urlsplit(url).scheme not in ("http", "https") or not where:
        raise BadInput(f"{url!r} is not an address; write it as http://host:port or https://host.")
    try:
        response = _exchange(url, dict(headers or {}), method, where, document)
        for _ in range(REDIRECTS):
            target = urljoin(url, response.headers.get("Location", ""))
            if response.status_code not in MOVED or urlsplit(target)[:2] != urlsplit(url)[:2]:
                break
            response = _exchange(target, dict(headers or {}), method, where, document)
    except (httpx.TransportError, httpx.DecodingError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Transient(
            f"{where} cannot be reached ({reason}); see that it runs and that the network allows it."
        ) from error
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise BadInput(
            f"{where}: the request cannot be made ({type(error).__name__}); correct address and key."
        ) from error
    if response.status_code == 429 or response.status_code >= 500:
        raise Transient(f"{where} answered with status {response.status_code}; try again later.")
    return response


def _exchange(url: str, headers: dict[str, str], method: str, where: str, document: Any) -> httpx.Response:
    sent = {} if document is None else {"json": document}
    with httpx.Client(timeout=SECONDS) as client, client.stream(method, url, headers=headers, **sent) as response:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LONGEST:
                raise BadInput(f"{where} sent more than {LONGEST:,} bytes; it is not the service that was expected.")
    return httpx.Response(response.status_code, headers=_plain(response.headers), content=bytes(body))


def fields(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in a response; an empty one where there is none."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def is_inside(url: str) -> bool:
    """Whether only pods of a cluster can resolve the host."""
    return (urlsplit(url).hostname or "").endswith(INSIDE)


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """The body is decoded already."""
    return {key: value for key, value in headers.items() if key.lower() not in {"content-encoding", "content-length"}}
