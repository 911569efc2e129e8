"""Which IP addresses may be connected to because somebody configured them: one list for both planes.

The control plane asks before it stores an address, the pod before it connects to one.
"""

from __future__ import annotations

import enum
import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(enum.Enum):
    """Who may be reached there."""

    PUBLIC = "public"
    PRIVATE = "private"  # takes the operator's word: what an operator's own models may live on
    NEVER = "never"  # metadata services, "this host", groups of hosts, and ranges that carry another address inside


_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "::1/128",
        "fc00::/7",
    )
)
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "::/128",
        "::ffff:0:0/96",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/32",
        "2002::/16",
        "fd00:ec2::/32",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_LOOPBACK_6 = ipaddress.IPv6Address("::1")  # inside ::/96


def reach(address: Address) -> Reach:
    """Versions of Python differ about what is public in some ranges: those are named here."""
    if address == _LOOPBACK_6:
        return Reach.PRIVATE
    if any(address in network for network in _NEVER if network.version == address.version):
        return Reach.NEVER
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return Reach.PRIVATE
    return Reach.PUBLIC if address.is_global else Reach.NEVER
