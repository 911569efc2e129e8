"""Places on the network as operators write them: a `HostPort`, and a `Reachable`, which has to answer."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from dataplane.core.addresses import Reach, reach

_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HostPort:
    """`host:port`, `[v6]:port`; the host may be a name."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Raises ValueError: what is wrong, for a sentence that begins with the setting's name."""
        host, colon, port = text.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise ValueError("is not host:port, for example 127.0.0.1:5563")
        return cls(host=host, port=int(port))

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Reachable:
    """Something that has to be reached: `host:port` (a connection), or a URL (https: with a trusted certificate)."""

    scheme: str  # tcp, http, https
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Reachable:
        """Raises ValueError as `HostPort.parse` does."""
        scheme, marks, rest = text.strip().lower().partition("://")
        place = re.split(r"[/?#]", rest, maxsplit=1)[0] if marks else scheme
        if not marks:
            scheme = "tcp"
        elif scheme not in _PORTS:
            raise ValueError("holds what is neither host:port nor an http or https URL")
        elif re.search(r":\d+\Z", place) is None:
            place += f":{_PORTS[scheme]}"
        address = HostPort.parse(place)
        try:
            never = reach(ipaddress.ip_address(address.host)) is Reach.NEVER
        except ValueError:
            never = _HOST.fullmatch(address.host) is None
        if never or not address.port:
            raise ValueError(f"names {address}, to which no pod connects")
        return cls(scheme, address.host, address.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.scheme == "tcp" else f"{self.scheme}://{host}:{self.port}"
