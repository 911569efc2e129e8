"""A provider's address: one grammar, stricter than any URL parser, so that no two of them read it differently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?",
    re.ASCII | re.IGNORECASE,
)
_TAIL: Final = re.compile(r"(?:/[A-Za-z0-9._~:@%,+=-]+)+", re.ASCII)
_DOTS: Final = re.compile(r"/\.{1,2}(?:/|$)")
# What another parser could decode into a separator, a dot segment or a control character; and broken escapes.
_ESCAPED: Final = re.compile(r"%(?:2[EF]|5C|[01][0-9A-F]|7F|(?![0-9A-F]{2}))", re.IGNORECASE)
_NAME: Final = re.compile(r"[^/\\\x00-\x20\x7f]{1,256}")
_VERSION: Final = re.compile(r"v[0-9]{1,3}(?:(?:alpha|beta)[0-9]*)?")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class UpstreamEndpoint:
    """`path` is "" or begins with a slash and does not end with one; `authority` is what the Host field says."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @property
    def versioned(self) -> bool:
        """The address already ends with an API version (`…/v1`, `…/v4`, `…/v1beta`), so that none is added."""
        return _VERSION.fullmatch(self.path.rpartition("/")[2]) is not None


def parse(base_url: str) -> UpstreamEndpoint:
    """Raises ValueError: another scheme, user info, query, fragment, escapes, backslashes, dot segments, odd hosts."""
    match = _URL.fullmatch(base_url)
    if match is None:
        raise ValueError("not an address of the form https://host[:port][/path]")
    scheme = match["scheme"].lower()
    host = match["host"].lower()
    port = int(match["port"] or _PORTS[scheme])
    path = match["path"]
    if not 0 < port < 65536 or ".." in host or _DOTS.search(path):
        raise ValueError("not an address: port, host or path")
    authority = host if port == _PORTS[scheme] else f"{host}:{port}"
    return UpstreamEndpoint(scheme, host.strip("[]"), port, authority, path)


def checked_tail(tail: str) -> str:
    """What stands after the version in a path. Raises ValueError unless it is made of plain segments."""
    if _TAIL.fullmatch(tail) is None or _DOTS.search(tail) or _ESCAPED.search(tail):
        raise ValueError("not a path")
    return tail


@lru_cache(maxsize=4096)
def segment(name: str) -> str:
    """A model or deployment as one path segment. Raises ValueError for slashes, spaces, controls, dots."""
    if _NAME.fullmatch(name) is None or name in (".", ".."):
        raise ValueError("not a name")
    return quote(name, safe="-._~:@")
