"""The one connect gate: every connection that a pod opens to an address somebody configured passes here.

Resolve, check *all* addresses, connect to a checked one; the name is used for TLS and Host only. So a name that answers
differently the second time, or one bad address among good ones, reaches nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from dataplane.core.addresses import Address, Reach, reach
from dataplane.proxy.tls import Terms, secure

_SESSIONS = 1024  # hosts remembered; more than any installation has providers
_TRIED = 4  # addresses of one name, which share the time to connect

P = TypeVar("P", bound=asyncio.BaseProtocol)
Resolver = Callable[[str, int], Awaitable[list[str]]]

_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Forbidden(Exception):
    """The gate does not let this destination through. The text names the rule, never what was found behind it."""


class Destination(NamedTuple):
    """Where to, as configured. Connections are pooled by it: `account` keeps those of two credentials apart. `owner`:
    whose provider it is, so that nobody gets more by having many."""

    scheme: str
    host: str
    port: int
    private_network: bool = False
    account: str = ""
    owner: str = ""


def check_host(host: str) -> Address | None:
    """The address that the host is, or None for a name. Raises Forbidden for what different parsers read differently.

    Refused: decimal, octal, hexadecimal and short forms of IPv4, zones, a trailing dot, anything but lower-case labels.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _NAME.fullmatch(host) is None:
            raise Forbidden("the host is not a plain name or address") from None
        return None
    if "%" in host:
        raise Forbidden("the host is not a plain name or address")
    return address


def check_address(address: Address, private_network: bool) -> None:
    """Raises Forbidden."""
    match reach(address):
        case Reach.NEVER:
            raise Forbidden("the host is in a range that is never reached")
        case Reach.PRIVATE if not private_network:
            raise Forbidden("the host is on a private network")


async def resolve(host: str, port: int) -> list[str]:
    """The system's resolver."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


@dataclass(slots=True)
class Gate:
    """Opens connections. `own_ports` are the ports that this pod listens on: it never becomes its own provider."""

    tls: ssl.SSLContext
    connect_s: float
    resolver: Resolver = resolve
    own_ports: set[int] = field(default_factory=set)

    async def connect(self, to: Destination, protocol: Callable[[], P]) -> P:
        """Raises Forbidden, TimeoutError or OSError (which includes TLS failures)."""
        async with asyncio.timeout(self.connect_s):
            addresses = await self._checked(to)
            failure: OSError = OSError("the name has no address")
            tried = addresses[:_TRIED]
            for address in tried:
                try:
                    async with asyncio.timeout(self.connect_s / len(tried)):
                        return await self._open(to, address, protocol)
                except OSError as error:  # a TimeoutError is one
                    failure = error
            raise failure

    async def _checked(self, to: Destination) -> list[Address]:
        literal = check_host(to.host)
        if literal is not None:
            addresses = [literal]
        else:
            texts = await self.resolver(to.host, to.port)
            addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
        for address in addresses:
            check_address(address, to.private_network)
        return addresses

    async def _open(self, to: Destination, address: Address, protocol: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        if to.scheme == "https":
            socket, _ = await loop.create_connection(asyncio.Protocol, str(address), to.port)
            self._check_other_end(to, socket)
            return await secure(socket, protocol, Terms(self.tls, self.connect_s, to.host))
        transport, connection = await loop.create_connection(protocol, str(address), to.port)
        self._check_other_end(to, transport)
        return connection

    def _check_other_end(self, to: Destination, transport: asyncio.Transport) -> None:
        if to.port in self.own_ports and _same_machine(transport):
            transport.abort()
            raise Forbidden("the host is this pod itself")


def _same_machine(transport: asyncio.BaseTransport) -> bool:
    """Do both ends of the connection have one address? (A host talks to itself from the address that it talks to.)"""
    ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    if not ours or not theirs:
        return False
    return bool(ours[0] == theirs[0] or ipaddress.ip_address(ours[0]).is_loopback)


class ResumingContext(ssl.SSLContext):
    """A client context that offers each host the TLS session of its last connection: no certificates are sent again."""

    def __init__(self, protocol: int = ssl.PROTOCOL_TLS_CLIENT) -> None:
        self.sessions: dict[str, ssl.SSLSession] = {}

    def wrap_bio(  # type: ignore[override]
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(
            incoming, outgoing, server_side, server_hostname, session or self.sessions.get(server_hostname or "")
        )

    def remember(self, host: str, transport: asyncio.BaseTransport) -> None:
        """Called after a connection's first answer: by then the server has sent its tickets.

        A copy of a session takes 0.6 ms, so there is none where the one in hand was good.
        """
        secure = transport.get_extra_info("ssl_object")
        if secure is None or secure.session_reused:
            return
        session = secure.session
        if session is not None:
            if len(self.sessions) >= _SESSIONS:
                self.sessions.clear()
            self.sessions[host] = session


def http_tls() -> ResumingContext:
    """HTTP/1.1 with checked certificates; nobody is trusted until `trust_authorities`."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def trust_authorities(context: ssl.SSLContext, ca_file: str = "") -> None:
    """The system's and, if given, those of a file: 50 ms of parsing, for which OpenSSL needs no interpreter."""
    context.load_default_certs()
    if ca_file:
        context.load_verify_locations(ca_file)


def client_tls(ca_file: str = "") -> ResumingContext:
    """Certificates checked against the authorities; HTTP/1.1 only."""
    context = http_tls()
    trust_authorities(context, ca_file)
    return context
