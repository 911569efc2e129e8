"""Addresses that configuration may name: public ones, private ones by the operator's word, and those that never are."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.addresses import Reach, reach


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("1.1.1.1", Reach.PUBLIC),
        ("2606:4700:4700::1111", Reach.PUBLIC),
        ("127.0.0.1", Reach.PRIVATE),
        ("::1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd12::1", Reach.PRIVATE),
        ("100.100.100.200", Reach.NEVER),
        ("169.254.169.254", Reach.NEVER),
        ("fd00:ec2::254", Reach.NEVER),
        ("::ffff:127.0.0.1", Reach.NEVER),
        ("64:ff9b::a00:1", Reach.NEVER),
        ("2002:7f00:1::", Reach.NEVER),
        ("192.0.2.1", Reach.NEVER),
        ("192.88.99.1", Reach.NEVER),  # the way to 6to4
        ("192.52.193.1", Reach.NEVER),  # multicast without multicast
        ("192.31.196.1", Reach.NEVER),
        ("192.175.48.1", Reach.NEVER),  # AS112
        ("198.51.100.1", Reach.NEVER),
        ("203.0.113.1", Reach.NEVER),
        ("255.255.255.255", Reach.NEVER),
        ("::", Reach.NEVER),
        ("::7f00:1", Reach.NEVER),
        ("::ffff:0:127.0.0.1", Reach.NEVER),  # RFC 2765
        ("64:ff9b:1::7f00:1", Reach.NEVER),
        ("100::1", Reach.NEVER),
        ("100:0:0:1::1", Reach.NEVER),
        ("2001::1", Reach.NEVER),
        ("2001:1::1", Reach.NEVER),
        ("2001:2::1", Reach.NEVER),
        ("2001:20::1", Reach.NEVER),
        ("2001:30::1", Reach.NEVER),
        ("2001:db8::1", Reach.NEVER),
        ("2620:4f:8000::1", Reach.NEVER),
        ("3fff::1", Reach.NEVER),
        ("5f00::1", Reach.NEVER),
        ("4000::1", Reach.NEVER),  # nobody's
        ("fd20:ce::254", Reach.NEVER),  # metadata of other clouds
        ("fd00:c1::a9fe:a9fe", Reach.NEVER),
        ("fd00:42::42", Reach.NEVER),
        ("fec0::1", Reach.NEVER),
        ("ff02::1", Reach.NEVER),
        ("2606:4700::5efe:127.0.0.1", Reach.NEVER),  # ISATAP
        ("2606:4700::200:5efe:10.0.0.1", Reach.NEVER),
        ("fd12::5efe:10.0.0.1", Reach.NEVER),
    ],
)
def test_an_address_is_public_private_or_never_reached(address, expected):
    assert reach(ipaddress.ip_address(address)) is expected


@given(st.ip_addresses())
def test_what_is_public_is_one_host_of_the_internet_and_holds_no_other_address(address):
    if reach(address) is Reach.PUBLIC:
        assert address.is_global
        assert not address.is_multicast
        if isinstance(address, ipaddress.IPv6Address):
            assert (address.ipv4_mapped, address.sixtofour, address.teredo) == (None, None, None)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_never_reached(address):
    for prefix in ("::", "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::", "2606:4700::5efe:", "fd12::200:5efe:"):
        clothed = ipaddress.ip_address(f"{prefix}{address}")
        assert reach(clothed) is Reach.NEVER or clothed == ipaddress.ip_address("::1")
