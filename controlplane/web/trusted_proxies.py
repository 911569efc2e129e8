"""Who asks, behind proxies: what a trusted one wrote down of the client is believed, and nothing else is.

The way is walked from its near end: the connection's other end, and while that is a trusted proxy, whom it says that it
served. The first who is not trusted is the client; whatever stands before is the client's own to invent. Around Django,
so that any ASGI server will do, and in the server's own scope, so that its access log names the client as well.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.environment import Network
from controlplane.web.body_limit import Application, Receive, Send

log = logging.getLogger(__name__)

ON_THIS_MACHINE = "127.0.0.1"  # who comes through a Unix socket has no address
LONGEST_WAY = 32  # proxies in a row
LONGEST_ADDRESS = 64
STRANGERS_NAMED = 16  # in the log of one process

_SCHEMES = frozenset({"http", "https"})
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PAIR = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^;]*)')

Headers = Sequence[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a request's way, as the proxy at its near end wrote it down. Empty: it did not say."""

    address: str
    scheme: str = ""
    host: str = ""


class TrustedProxies:
    """An ASGI application around another one, which finds client, scheme and host in the request's scope."""

    def __init__(self, application: Application, networks: Sequence[Network]) -> None:
        self._application, self._networks = application, networks
        self._strangers: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._look_behind(scope)
        await self._application(scope, receive, send)

    def _look_behind(self, scope: Scope) -> None:
        headers: Headers = scope["headers"]
        ways = [way for way in (x_forwarded(headers), forwarded(headers)) if way]
        if not ways:
            return
        peer = address_of((scope.get("client") or (ON_THIS_MACHINE,))[0]) or ""
        if not self._is_trusted(peer):
            return self._note_stranger(peer)
        walked = [self._walk(peer, way) for way in ways]
        clients = {address for address, _ in walked}
        # A proxy sets one kind of header and passes on the other, with whatever the client wrote there.
        client = clients.pop() if len(clients) == 1 else peer
        if client != peer or scope.get("client") is None:
            scope["client"] = (client, 0)
        schemes = {hop.scheme for _, hop in walked if hop.scheme in _SCHEMES}
        if schemes:
            scope["scheme"] = min(schemes)  # https is believed where nobody says http
        hosts = {hop.host for _, hop in walked if hop.host}
        if len(hosts) == 1:
            others = [(name, value) for name, value in headers if name != b"host"]
            scope["headers"] = [*others, (b"host", hosts.pop().encode("latin-1"))]

    def _walk(self, peer: str, way: Sequence[Hop]) -> tuple[str, Hop]:
        """The client's address, and what the proxy says that it came to. `way`: the farthest first, at least one."""
        address, hop = peer, way[-1]
        for step in reversed(way[-LONGEST_WAY:]):
            if not self._is_trusted(address):
                break
            hop = step
            before = address_of(step.address)
            if before is None:
                break  # unreadable, so nobody beyond this proxy is known
            address = before
        return address, hop

    def _is_trusted(self, address: str) -> bool:
        if not address:
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._networks if network.version == parsed.version)

    def _note_stranger(self, peer: str) -> None:
        """Behind HTTPS that ends there everything is redirected to itself, so somebody will look for the reason."""
        if peer in self._strangers or len(self._strangers) >= STRANGERS_NAMED:
            return
        self._strangers.add(peer)
        log.warning(
            "proxy_not_trusted %s says for whom it asks (X-Forwarded-*, Forwarded) and is not believed; if it is a "
            "proxy of yours, name it in AIGATEWAY_TRUSTED_PROXIES",
            peer or "somebody without an address",
        )


def x_forwarded(headers: Headers) -> list[Hop]:
    """The way by `X-Forwarded-For`, `-Proto` and `-Host`.

    Lists of one length describe the same steps. Otherwise the last value counts, which the nearest proxy wrote.
    """
    addresses = _listed(headers, b"x-forwarded-for")
    schemes, hosts = _listed(headers, b"x-forwarded-proto"), _listed(headers, b"x-forwarded-host")
    if not (addresses or schemes or hosts):
        return []
    addresses = addresses or [""]
    steps = zip(addresses, _each(schemes, len(addresses)), _each(hosts, len(addresses)), strict=True)
    return [Hop(address, scheme.lower(), host) for address, scheme, host in steps]


def forwarded(headers: Headers) -> list[Hop]:
    """The way by `Forwarded` (RFC 7239)."""
    hops = []
    for element in _ELEMENT.findall(_joined(headers, b"forwarded")):
        pairs = {name.lower(): _unquoted(value) for name, value in _PAIR.findall(element)}
        hops.append(Hop(pairs.get("for", ""), pairs.get("proto", "").lower(), pairs.get("host", "")))
    return hops


def address_of(text: str) -> str | None:
    """The address alone: without port, brackets and zone, IPv4 as IPv4. None: it is none."""
    text = text.strip()[:LONGEST_ADDRESS]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _each(values: Sequence[str], number: int) -> Iterable[str]:
    if len(values) == number:
        return values
    return [values[-1] if values else ""] * number


def _listed(headers: Headers, name: bytes) -> list[str]:
    text = _joined(headers, name)
    return [part.strip() for part in text.split(",")] if text else []


def _joined(headers: Headers, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for field, value in headers if field == name)


def _unquoted(value: str) -> str:
    value = value.strip()
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
