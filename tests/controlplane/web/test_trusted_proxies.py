"""Who asks, where proxies stand in between: believed from those that are trusted, and nobody else."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.web.trusted_proxies import LONGEST_WAY, STRANGERS_NAMED, TrustedProxies, address_of
from tests.controlplane.web.process import web

PROXIES = ("10.0.0.0/24", "127.0.0.1", "2001:db8:1::/64")
NEAR = ("10.0.0.5", 4711)


def seen(
    *headers: tuple[str, str], peer: tuple[str, int] | None = NEAR, proxies: tuple[str, ...] = PROXIES
) -> dict[str, Any]:
    """The scope as Django gets it."""
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "client": peer,
        "headers": [(b"host", b"inside:5560"), *((n.lower().encode(), v.encode("latin-1")) for n, v in headers)],
    }
    got: list[dict[str, Any]] = []

    async def django(scope: Any, receive: Any, send: Any) -> None:
        got.append(scope)

    async def nothing(*_: Any) -> Any: ...

    behind = TrustedProxies(django, [ipaddress.ip_network(proxy) for proxy in proxies])
    asyncio.run(behind(scope, nothing, nothing))
    assert got[0] is scope, "the server's own access log reads it as well"
    return got[0]


def client(*headers: tuple[str, str], **how: Any) -> str:
    return str(seen(*headers, **how)["client"][0])


def host(scope: dict[str, Any]) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == b"host"]


def test_a_trusted_proxy_is_believed_client_scheme_and_host():
    scope = seen(
        ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "gw.example.com")
    )
    assert scope["client"] == ("192.0.2.1", 0)
    assert scope["scheme"] == "https"
    assert host(scope) == [b"gw.example.com"]


def test_anybody_else_is_not():
    scope = seen(
        ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "gw.example.com"),
        ("Forwarded", "for=192.0.2.1;proto=https;host=gw.example.com"), peer=("10.0.1.5", 4711),
    )  # fmt: skip
    assert scope["client"] == ("10.0.1.5", 4711)
    assert scope["scheme"] == "http"
    assert host(scope) == [b"inside:5560"]


def test_what_nobody_added_to_stays_as_it_is():
    scope = seen()
    assert scope["client"] == NEAR
    assert scope["scheme"] == "http"


@pytest.mark.parametrize(
    ("way", "who"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),  # the left part is the client's own invention
        ("127.0.0.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.7, 192.0.2.1, 10.0.0.6", "192.0.2.1"),  # several proxies in a chain
        ("evil, 192.0.2.1, 10.0.0.7, 10.0.0.6", "192.0.2.1"),
        ("10.0.0.8, 10.0.0.7", "10.0.0.8"),  # a client inside
        ("192.0.2.1:1234", "192.0.2.1"),
        ("[2001:db8::7]:1234", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
        ("192.0.2.1, 2001:db8:1::2", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.0.0.6", "192.0.2.1"),
        ("192.0.2.1, unknown", "10.0.0.5"),  # nobody beyond this proxy is known
        ("192.0.2.1, ", "10.0.0.5"),
        ("192.0.2.1, unknown, 10.0.0.6", "10.0.0.6"),
        ("'; drop table, <script>", "10.0.0.5"),
        ("1" * 9000, "10.0.0.5"),
        ("0x7f.1", "10.0.0.5"),
    ],
)
def test_the_nearest_that_is_not_trusted_is_the_client(way: str, who: str):
    assert client(("X-Forwarded-For", way)) == who


def test_lines_of_one_name_are_one_list():
    assert client(("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1")) == "192.0.2.1"
    assert client(("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "10.0.0.6")) == "192.0.2.1"


@pytest.mark.parametrize(
    ("addresses", "schemes", "scheme"),
    [
        ("192.0.2.1", "https", "https"),
        ("192.0.2.1", "HTTPS", "https"),
        ("192.0.2.1", "http", "http"),
        ("192.0.2.1", "javascript", "http"),
        ("203.0.113.9, 192.0.2.1", "https", "https"),
        ("192.0.2.1, 10.0.0.6", "https, http", "https"),  # TLS ended at the first proxy, plain from there on
        ("203.0.113.9, 192.0.2.1, 10.0.0.6", "https, http, http", "http"),  # what the client claims is not the scheme
        ("203.0.113.9, 192.0.2.1, 10.0.0.6", "https, http", "http"),
    ],
)
def test_the_scheme_is_the_one_at_the_clients_own_proxy(addresses: str, schemes: str, scheme: str):
    assert seen(("X-Forwarded-For", addresses), ("X-Forwarded-Proto", schemes))["scheme"] == scheme


def test_a_scheme_alone_is_believed_and_says_nothing_of_the_client():
    scope = seen(("X-Forwarded-Proto", "https"))
    assert scope["scheme"] == "https"
    assert scope["client"] == NEAR


@pytest.mark.parametrize(
    ("text", "who", "scheme", "named"),
    [
        ("for=192.0.2.1;proto=https;host=gw.example.com", "192.0.2.1", "https", b"gw.example.com"),
        ('For="[2001:db8::7]:4711";Proto=https', "2001:db8::7", "https", b"inside:5560"),
        ("for=203.0.113.9, for=192.0.2.1;proto=https", "192.0.2.1", "https", b"inside:5560"),
        ("for=192.0.2.1;proto=https, for=10.0.0.6;proto=http", "192.0.2.1", "https", b"inside:5560"),
        ('for=192.0.2.1;host="gw.example.com:8443"', "192.0.2.1", "http", b"gw.example.com:8443"),
        ("for=unknown", "10.0.0.5", "http", b"inside:5560"),
        ("for=_hidden;proto=https", "10.0.0.5", "https", b"inside:5560"),
        ('for="203.0.113.9, for=192.0.2.1', "192.0.2.1", "http", b"inside:5560"),  # a quote that swallows the next
        ('for="a, for="[2001:db8::7]"', "10.0.0.5", "http", b"inside:5560"),
        (";;;==,,", "10.0.0.5", "http", b"inside:5560"),
    ],
)
def test_the_standard_header_is_read_as_well(text: str, who: str, scheme: str, named: bytes):
    scope = seen(("Forwarded", text))
    assert (scope["client"][0], scope["scheme"], host(scope)) == (who, scheme, [named])


def test_where_two_kinds_of_header_disagree_neither_is_believed():
    """A proxy that sets one of them passes on what the client wrote into the other."""
    told_twice = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")]
    assert client(*told_twice, ("Forwarded", "for=203.0.113.9;proto=https")) == "10.0.0.5"
    assert client(*told_twice, ("Forwarded", "for=192.0.2.1")) == "192.0.2.1"
    assert seen(*told_twice, ("Forwarded", "for=192.0.2.1;proto=http"))["scheme"] == "http"
    assert seen(*told_twice, ("Forwarded", "for=192.0.2.1"))["scheme"] == "https"
    hosts = [("X-Forwarded-Host", "a.example"), ("Forwarded", "host=b.example")]
    assert host(seen(*hosts)) == [b"inside:5560"]


def test_a_unix_socket_counts_as_this_machine():
    assert client(("X-Forwarded-For", "192.0.2.1"), peer=None) == "192.0.2.1"
    assert seen(("X-Forwarded-For", "192.0.2.1"), peer=None, proxies=("10.0.0.0/24",))["client"] is None


def test_a_mapped_peer_is_the_proxy_that_it_is():
    assert client(("X-Forwarded-For", "192.0.2.1"), peer=("::ffff:10.0.0.5", 1)) == "192.0.2.1"


def test_a_long_way_costs_no_more_than_a_short_one():
    way = ", ".join(["192.0.2.1", *["10.0.0.6"] * (LONGEST_WAY + 5)])
    assert client(("X-Forwarded-For", way)) == "10.0.0.6"


def test_with_an_empty_list_nobody_is_believed():
    assert client(("X-Forwarded-For", "192.0.2.1"), peer=("127.0.0.1", 1), proxies=()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "x", "[", "[]", "[::1", ":", "::1]", "1.2.3.4.5", "256.1.1.1", "-", "\x00"])
def test_whatever_is_no_address_is_none(text: str):
    assert address_of(text) in (None, "::1")


def test_a_proxy_that_is_not_trusted_is_named_in_the_log_once(caplog: pytest.LogCaptureFixture):
    async def django(*_: Any) -> None: ...

    async def nothing(*_: Any) -> Any: ...

    behind = TrustedProxies(django, [])

    async def ask(peer: str) -> None:
        headers = [(b"x-forwarded-proto", b"https")]
        await behind({"type": "http", "scheme": "http", "client": (peer, 1), "headers": headers}, nothing, nothing)

    for number in range(STRANGERS_NAMED + 9):
        asyncio.run(ask(f"10.9.9.{number}"))
        asyncio.run(ask("10.9.9.0"))
    lines = [record.getMessage() for record in caplog.records if "proxy_not_trusted" in record.getMessage()]
    assert len(lines) == STRANGERS_NAMED
    assert "10.9.9.0 " in lines[0]
    assert "AIGATEWAY_TRUSTED_PROXIES" in lines[0]


def test_tls_that_ends_on_another_machine(tmp_path: Path, db: None, capfd: pytest.CaptureFixture[str]):
    """A real server: behind a trusted proxy it serves, to a stranger who says the same it redirects; its log names the
    client."""
    settings = {"ALLOWED_HOSTS": "gw.example.com", "HTTPS": "on", "TRUSTED_PROXIES": "127.0.0.2"}
    passed_on = {"Host": "gw.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9, 192.0.2.77"}
    with web(tmp_path, "--no-proxy-headers", **settings) as server:
        base = str(server.base_url)

        def ask(path: str, source: str) -> httpx.Response:
            transport = httpx.HTTPTransport(local_address=source)
            with httpx.Client(transport=transport, timeout=20) as proxy:
                return proxy.get(f"{base}{path}", headers=passed_on)

        assert ask("/admin/login/", "127.0.0.2").status_code == 200
        assert ask("/api/v1/teams", "127.0.0.2").status_code == 401
        for stranger in ("127.0.0.1", "127.0.0.3"):
            answer = ask("/admin/login/", stranger)
            assert (answer.status_code, answer.headers["location"]) == (301, "https://gw.example.com/admin/login/")
    logged = capfd.readouterr().out
    assert '192.0.2.77:0 - "GET /admin/login/ HTTP/1.1" 200' in logged
    assert "203.0.113.9" not in logged
