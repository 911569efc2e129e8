"""Base URLs: the good have one form; what two parsers could read differently, or what reaches inside, is refused."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.providers import ssrf


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        ("https://api.anthropic.com/", "https://api.anthropic.com"),
        (" https://API.OpenAI.com:443/v1/ ", "https://api.openai.com/v1"),
        ("https://example.com:8443/a/b", "https://example.com:8443/a/b"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://93.184.215.14", "https://93.184.215.14"),
        ("https://[2606:2800:021F:cb07::1]/x", "https://[2606:2800:21f:cb07::1]/x"),
        ("HTTPS://openrouter.ai/api", "https://openrouter.ai/api"),
    ],
)
def test_a_good_base_url_has_one_form(text, stored):
    assert str(ssrf.parse(text, private_allowed=False)) == stored


REFUSED_ALWAYS = [
    "",
    "api.openai.com",
    "//api.openai.com",
    "ftp://example.com",
    "file:///etc/passwd",
    "gopher://example.com",
    "https://",
    "https:///v1",
    "https://user@example.com",
    "https://user:password@example.com",
    "https://example.com@10.0.0.1",
    "https://example.com\\@10.0.0.1",
    "https://example.com\\.evil.example",
    "https://example.com#fragment",
    "https://example.com#",
    "https://example.com?x=1",
    "https://example.com/%2e%2e/",
    "https://169.254.169.254%23.example.com",
    "https://example.com/a//b",
    "https://example.com/../b",
    "https://example.com/./b",
    "https://exa mple.com",
    "https://exam\tple.com",
    "https://example.com\r\nHost: evil",
    "https://example.com\0.evil",
    "https://bücher.example",
    "https://example.com。evil.example",
    "https://example.com.",
    "https://.example.com",
    "https://-a.example.com",
    "https://example.com:",
    "https://example.com:0",
    "https://example.com:65536",
    "https://example.com:8o",
    "https://example.com:+443",
    "https://[::1",
    "https://[fe80::1%25eth0]",
    "https://2130706433",
    "https://0x7f000001",
    "https://0x7f.0.0.1",
    "https://0177.0.0.1",
    "https://127.1",
    "https://127.0.0.1.",
    "https://metadata.google.internal",
    "https://metadata",
    "https://169.254.169.254",
    "https://[::ffff:169.254.169.254]",
    "https://[64:ff9b::a9fe:a9fe]",
    "https://[fd00:ec2::254]",
    "https://100.100.100.200",
    "https://168.63.129.16",
    "https://0.0.0.0",
    "https://[::]",
    "https://0.1.2.3",
    "https://224.0.0.1",
    "https://255.255.255.255",
    "https://240.0.0.1",
    "https://[ff02::1]",
    "https://[fec0::1]",
    "https://[2002:7f00:1::]",
    "https://[2002:808:808::]",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "https://[::ffff:127.0.0.1]",
    "https://[::ffff:10.0.0.1]",
    "https://[::127.0.0.1]",
    "https://[64:ff9b::7f00:1]",
    "https://" + "a" * 300 + ".example",
    "https://example.com/" + "a" * 600,
]
REFUSED_UNLESS_PRIVATE = [
    "http://api.openai.com",
    "https://127.0.0.1",
    "https://127.8.9.10:8080",
    "https://10.1.2.3",
    "https://172.16.0.1",
    "https://192.168.1.1",
    "https://100.64.0.1",
    "https://[::1]",
    "https://[fd12:3456::1]",
]


@pytest.mark.parametrize("text", REFUSED_ALWAYS)
def test_what_is_never_a_provider(text):
    for private in (False, True):
        with pytest.raises(ssrf.UnsafeUrl):
            ssrf.parse(text, private_allowed=private)


@pytest.mark.parametrize("text", REFUSED_UNLESS_PRIVATE)
def test_what_takes_the_operators_word(text):
    with pytest.raises(ssrf.UnsafeUrl):
        ssrf.parse(text, private_allowed=False)
    ssrf.parse(text, private_allowed=True)


@given(
    st.text(alphabet="https:/\\@#?%[].-0123456789abcxABC \t\r\n\0é", max_size=40).map(lambda tail: "https://" + tail)
)
def test_every_parser_reads_an_accepted_url_the_same(text):
    try:
        url = ssrf.parse(text, private_allowed=True)
    except ssrf.UnsafeUrl:
        return
    theirs = httpx.URL(str(url))
    assert theirs.host == url.host == (urlsplit(str(url)).hostname or "")
    assert (theirs.port or {"https": 443, "http": 80}[theirs.scheme]) == url.port
    assert theirs.userinfo == b""
    assert ssrf.parse(str(url), private_allowed=True) == url


@given(st.ip_addresses())
def test_no_address_outside_the_public_internet_passes(address):
    try:
        ssrf.check_address(address, private_allowed=False)
    except ssrf.UnsafeUrl:
        return
    assert address.is_global
    if isinstance(address, ipaddress.IPv6Address):
        assert address.ipv4_mapped is None or address.ipv4_mapped.is_global
        assert address.sixtofour is None
        assert address.teredo is None


def _names(monkeypatch, *addresses):
    def answer(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_one_bad_address_among_good_ones_refuses_the_name(monkeypatch):
    url = ssrf.parse("https://rebinding.example", private_allowed=False)
    _names(monkeypatch, "93.184.215.14", "127.0.0.1")
    with pytest.raises(ssrf.UnsafeUrl, match=r"127\.0\.0\.1"):
        ssrf.resolve(url, private_allowed=False)
    _names(monkeypatch, "93.184.215.14", "93.184.215.15")
    assert ssrf.resolve(url, private_allowed=False) == "93.184.215.14"


def test_a_name_that_leads_to_metadata_is_refused_even_where_private_is_allowed(monkeypatch):
    _names(monkeypatch, "169.254.169.254")
    with pytest.raises(ssrf.UnsafeUrl, match="metadata"):
        ssrf.resolve(ssrf.parse("https://innocent.example", private_allowed=True), private_allowed=True)


def test_a_name_without_an_address_says_so(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ssrf.UnsafeUrl, match="has no address"):
        ssrf.resolve(ssrf.parse("https://nowhere.example", private_allowed=False), private_allowed=False)
