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
# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry, all of both that no provider
# can live in, also where a version of Python calls one global; and where clouds keep their metadata.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
        "5f00::/16",
        "fd00:c1::/32",
        "fd00:42::/32",
        "fd00:ec2::/32",
        "fd20:ce::/32",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_UNICAST_6 = ipaddress.IPv6Network("2000::/3")  # all that was ever given to anybody
_ISATAP = 0x5EFE  # RFC 5214: an interface identifier of 0:5efe or 200:5efe and an IPv4 address, in any network
_LOOPBACK_6 = ipaddress.IPv6Address("::1")  # inside ::/96


def reach(address: Address) -> Reach:
    """Versions of Python differ about what is public in some ranges: those are named here."""
    if address == _LOOPBACK_6:
        return Reach.PRIVATE
    if isinstance(address, ipaddress.IPv6Address) and _is_isatap(address):
        return Reach.NEVER
    if any(address in network for network in _NEVER if network.version == address.version):
        return Reach.NEVER
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return Reach.PRIVATE
    assigned = address.version == 4 or address in _UNICAST_6
    return Reach.PUBLIC if assigned and address.is_global else Reach.NEVER


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    return int(address) >> 32 & 0xFFFF_FFFF & ~0x0200_0000 == _ISATAP
