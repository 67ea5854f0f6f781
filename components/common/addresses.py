"""Which addresses a recipe may make the platform talk to: plain http and https, never a cloud's metadata service."""

import ipaddress
import re
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from components.common.errors import BadInput, Transient

#: Metadata services outside the link-local range: AWS over IPv6, Alibaba, Oracle.
METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})


def check_address(url: str) -> tuple[str, int]:
    """The host and port of an address; refuse one that by its looks ``check_url`` would refuse, without the network.

    No message repeats a password. Raises BadInput.
    """
    host, port = _host_and_port(url)
    if host.rstrip(".").lower() in METADATA_NAMES:
        raise BadInput(f"{host} is a metadata service, not an endpoint; correct the address.")
    with suppress(ValueError):  # a name
        if _forbidden(host):
            raise BadInput(f"{host} is an address that no endpoint may have; correct the address.")
    return host, port


def without_password(text: str) -> str:
    """A text in which every address has lost its user and password."""
    return re.sub(r"//[^/\s@]*@", "//", text)


def check_url(url: str) -> None:
    """Refuse an address that is not http(s), carries a password, or leads to a link-local or metadata address.

    The name is resolved, so that an alias of such an address is refused too. Raises BadInput, or Transient when the
    name cannot be resolved.
    """
    host, port = check_address(url)
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise Transient(f"The host {host!r} cannot be resolved ({error}); check its name and the network.") from error
    for address in found:
        if _forbidden(str(address)):
            raise BadInput(f"{host} is the address {address}, which no endpoint may have; correct the address.")


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(
            f"{without_password(url)!r} is not an address ({error}); use http://host/path or https://host/path."
        ) from error
    if parts.username is not None or parts.password is not None:
        raise BadInput(f"The address of {host} carries a user name or password; keep secrets in environment variables.")
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise BadInput(
            f"{without_password(url)!r} is not an address of an endpoint; use http://host/path or https://host/path."
        )
    return host, port or (443 if parts.scheme == "https" else 80)


def _forbidden(text: str) -> bool:
    address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA
