"""Which base URLs a provider may have: one strict parser, and a check of every address that a name stands for.

Hosted control planes must not become a tunnel into their own network. Private and loopback addresses, and plain http,
take the operator's word (`AIGATEWAY_ALLOW_PRIVATE_PROVIDERS`; of alert channels `AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS`);
cloud metadata and other special ranges are refused always.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from dataplane.core.addresses import Address, Reach, reach

LONGEST_URL = 500
# The settings by which an operator allows private networks.
PROVIDERS, WEBHOOKS = "AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS"
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_VERSION = re.compile(r"v[0-9]{1,3}(?:(?:alpha|beta)[0-9]*)?")
_SPELT_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")

_FORBIDDEN = {
    "\\": "no backslash",
    "@": "no user or password",
    "#": "no fragment",
    "?": "no query",
    "%": "no escapes",
}

_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})


class UnsafeUrl(ValueError):
    """Refused; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A base URL in the one form that is stored and connected to. `path` without a trailing slash, perhaps empty."""

    scheme: str
    host: str  # lower case; an IPv6 address without brackets
    port: int
    path: str

    @property
    def versioned(self) -> bool:
        """It already ends with an API version, so that none is added."""
        return _VERSION.fullmatch(self.path.rpartition("/")[2]) is not None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == {"https": 443, "http": 80}[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def parse(text: str, *, private_allowed: bool, switch: str = PROVIDERS) -> BaseUrl:
    """Raises UnsafeUrl for what two parsers could read differently, and for addresses that are not allowed.

    `switch` names the setting that `private_allowed` comes from, for whoever can change it.
    """
    url = text.strip(" ")
    if not url or len(url) > LONGEST_URL:
        raise UnsafeUrl(f"a base URL has 1 to {LONGEST_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UnsafeUrl("a base URL has no blanks, control or non-ASCII characters; an international name is xn--…")
    for forbidden, why in _FORBIDDEN.items():
        if forbidden in url:
            raise UnsafeUrl(f"a base URL has {why}")
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname or ""
    except ValueError as error:
        raise UnsafeUrl(f"not a URL: {error}") from error
    scheme = parts.scheme
    if scheme not in ("https", "http"):
        raise UnsafeUrl("a base URL starts with https://")
    if scheme == "http" and not private_allowed:
        raise UnsafeUrl(
            "a base URL starts with https://; plain http is for private networks, which the operator must allow "
            f"({switch}=true)"
        )
    if parts.netloc.endswith(":") or port == 0:
        raise UnsafeUrl("the port is missing after the colon")
    if _PATH.fullmatch(parts.path.rstrip("/")) is None or re.search(r"/\.{1,2}(/|$)", parts.path):
        raise UnsafeUrl("the path is made of plain segments, without // or ..")
    host = _host(name)
    literal = _literal(host)
    if literal is not None:
        check_address(literal, private_allowed=private_allowed, switch=switch)
    return BaseUrl(scheme, host, port or {"https": 443, "http": 80}[scheme], parts.path.rstrip("/"))


def _host(name: str) -> str:
    if ":" in name:
        literal = _literal(name)
        if not isinstance(literal, ipaddress.IPv6Address) or literal.scope_id:
            raise UnsafeUrl("not an IPv6 address")
        return literal.compressed
    labels = name.split(".")
    if not name or len(name) > 253 or any(_LABEL.fullmatch(label) is None for label in labels):
        raise UnsafeUrl("the host is a domain name, without a trailing dot, or an IP address")
    if _SPELT_NUMBER.fullmatch(labels[-1]) and _literal(name) is None:
        raise UnsafeUrl("an IPv4 address is written as four decimal numbers")
    if name in _METADATA_NAMES:
        raise UnsafeUrl("cloud metadata is no provider")
    return name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_address(address: Address, *, private_allowed: bool, switch: str = PROVIDERS) -> None:
    """Raises UnsafeUrl for an address that must not be connected to."""
    match reach(address):
        case Reach.NEVER:
            raise UnsafeUrl(f"{address} is never connected to: link-local, metadata, or not the address of one host")
        case Reach.PRIVATE if not private_allowed:
            raise UnsafeUrl(f"{address} is private; the operator must allow that ({switch}=true)")


def resolve(url: BaseUrl, *, private_allowed: bool, switch: str = PROVIDERS) -> str:
    """An address to connect to, after *every* address of the name was checked. Raises UnsafeUrl."""
    try:
        entries = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnsafeUrl(f"{url.host} has no address") from error
    addresses = list(dict.fromkeys(str(item[4][0]) for item in entries))
    for address in addresses:
        literal = ipaddress.ip_address(address.partition("%")[0])
        check_address(literal, private_allowed=private_allowed, switch=switch)
    if not addresses:
        raise UnsafeUrl(f"{url.host} has no address")
    return addresses[0]
