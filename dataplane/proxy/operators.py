"""Who may see a pod's particulars: operators, by the network that they ask from. Everybody else learns what a client or
a balancer has to know."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_PASSED_ON = frozenset({b"forwarded", b"x-real-ip", b"via"})
_PASSED_ON_PREFIX = b"x-forwarded-"  # some proxies are told to send a scheme and no address


def is_operator(peer: str, headers: Mapping[bytes, bytes], networks: Sequence[Network]) -> bool:
    """`peer`: the connection's other end; where a proxy passed the request on, it is not who asks."""
    if not _PASSED_ON.isdisjoint(headers) or any(name.startswith(_PASSED_ON_PREFIX) for name in headers):
        return False
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks if network.version == address.version)
