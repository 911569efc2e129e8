"""A pod behind nginx, HAProxy and Envoy, each with our file for it: nothing is held back, changed or let in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.web.process import web
from tests.journeys.fronts import ENVOY, HAPROXY, NGINX, UNTOUCHED, Front, Running, running
from tests.link.conftest import Authority
from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    PATIENCE_S,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    TOKEN,
    Peer,
    Stage,
    answer,
    chunk,
    play,
)

pytestmark = pytest.mark.processes

FRONTS = (NGINX, HAPROXY, ENVOY)
HTTP_1, HTTP_2 = "--http1.1", "--http2"
KEY = ("-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json")
POST = (*KEY, "-X", "POST", "--data-binary")

every_front = pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.name)
Scene = Callable[[Stage, Running], Coroutine[Any, Any, None]]
Behind = Callable[[Front, Scene], None]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("front"))


@pytest.fixture
def behind(authority: Authority, tmp_path: Path) -> Behind:
    """Plays a scene with a pod behind a proxy."""

    def played(front: Front, scene: Scene) -> None:
        async def whole() -> None:
            async with (
                asyncio.timeout(PATIENCE_S),
                Stage() as stage,
                running(front, authority, tmp_path, pod=stage.port) as proxy,
            ):
                await scene(stage, proxy)

        play(whole())

    return played


@asynccontextmanager
async def client(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """curl, killed when the test has seen enough."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def asked(command: list[str]) -> tuple[int, str]:
    """Status and body of a whole answer."""
    async with client([*command[:-1], "-w", "\n%{http_code}", command[-1]]) as process:
        out, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    body, _, status = out.decode().rpartition("\n")
    return int(status), body


async def called(stage: Stage) -> Peer:
    provider = await stage.provider()
    await provider.request()
    return provider


@pytest.mark.parametrize("http", [HTTP_1, HTTP_2])
@pytest.mark.parametrize("prefix", ["", "/gw"])
@pytest.mark.parametrize("front", [*FRONTS, UNTOUCHED], ids=lambda front: front.name)
def test_the_first_event_is_there_before_the_provider_has_sent_the_last(
    behind: Behind, front: Front, prefix: str, http: str
):
    async def scene(stage: Stage, proxy: Running) -> None:
        command = proxy.curl(f"{prefix}/v1/messages?beta=true", http, *POST, STREAMED_MESSAGE.decode(), "-i")
        async with client(command) as curl:
            assert curl.stdout is not None
            provider = await stage.provider()
            line, _, body = await provider.request()
            assert line == b"POST /v1/messages?beta=true HTTP/1.1"
            assert body == STREAMED_MESSAGE
            await provider.send(STREAM_HEAD + chunk(EVENTS[0]))
            head = await curl.stdout.readuntil(b"\r\n\r\n")
            assert b"200" in head.splitlines()[0]
            assert await curl.stdout.readexactly(len(EVENTS[0])) == EVENTS[0]
            for event in EVENTS[1:]:
                await provider.send(chunk(event))
                assert await curl.stdout.readexactly(len(event)) == event
            await provider.send(b"0\r\n\r\n")
            assert await curl.stdout.read() == b""
        if front.program == "nginx":
            assert b"x-accel" not in head.lower(), "it was meant for nginx"

    behind(front, scene)


@every_front
@pytest.mark.parametrize("http", [HTTP_1, HTTP_2])
def test_a_long_head_and_a_large_body_go_through(behind: Behind, front: Front, http: str, tmp_path: Path):
    """Coding CLIs send both."""
    words = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
    body = words.replace('"x"', '"' + "abcdefgh" * 2_500_000 + '"').encode()
    (tmp_path / "body").write_bytes(body)
    filler = tmp_path / "filler"
    filler.write_text(f"X-Filler: {'f' * 60_000}\n")

    async def scene(stage: Stage, proxy: Running) -> None:
        command = proxy.curl("/v1/messages", http, *POST, f"@{tmp_path / 'body'}", "-H", f"@{filler}")
        asking = asyncio.ensure_future(asked(command))
        provider = await stage.provider()
        _, headers, came = await provider.request()
        await provider.send(answer(ANSWER))
        assert len(headers["x-filler"]) == 60_000
        assert hashlib.sha256(came).digest() == hashlib.sha256(body).digest()
        assert await asking == (200, ANSWER.decode())

    behind(front, scene)


@every_front
@pytest.mark.parametrize("http", [HTTP_1, HTTP_2])
def test_a_client_that_leaves_is_gone_for_the_provider_too(behind: Behind, front: Front, http: str):
    async def scene(stage: Stage, proxy: Running) -> None:
        async with client(proxy.curl("/v1/messages", http, *POST, STREAMED_MESSAGE.decode())) as curl:
            assert curl.stdout is not None
            provider = await called(stage)
            await provider.send(STREAM_HEAD + chunk(EVENTS[0]))
            await curl.stdout.readexactly(len(EVENTS[0]))
            curl.kill()
            await provider.rest()  # returns when the pod has hung up
        assert (await stage.settled()).outcome == "client_gone"

    behind(front, scene)


@every_front
def test_what_is_not_for_strangers_stays_inside(behind: Behind, front: Front):
    async def scene(stage: Stage, proxy: Running) -> None:
        for path in ("/metrics", "/gw/metrics"):
            status, body = await asked(proxy.curl(path))
            assert (status, "open_exchanges" in body) == (404, False)
        status, body = await asked(proxy.curl("/readyz", "-H", "X-Forwarded-For: 127.0.0.1"))
        assert (status, set(json.loads(body))) == (200, {"status", "version", "checks"})
        upgrade = ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13")
        status, _ = await asked(proxy.curl("/v1/responses", HTTP_1, *KEY, *upgrade))
        assert 400 <= status < 500
        assert stage.nobody_called()

    behind(front, scene)


@every_front
def test_an_error_of_the_gateways_reaches_the_client_as_it_is(behind: Behind, front: Front):
    async def scene(stage: Stage, proxy: Running) -> None:
        body = '{"model":"nobody-has-this-one","max_tokens":9,"messages":[]}'
        status, text = await asked(proxy.curl("/v1/messages", *POST, body, "-i"))
        assert status == 403
        assert '"type":"permission_error"' in text.replace(" ", "")
        assert "request-id:" in text.lower()
        assert stage.nobody_called()

    behind(front, scene)


@every_front
def test_the_admin_is_served_where_its_tls_ended_and_knows_who_asks(
    front: Front, authority: Authority, tmp_path: Path, db: None, capfd: pytest.CaptureFixture[str]
):
    """The proxy is a trusted one; what the client says of itself is not believed."""
    settings = {"ALLOWED_HOSTS": "admin.example.com", "HTTPS": "on"}
    with web(tmp_path, "--no-proxy-headers", **settings) as server:
        port = server.base_url.port
        assert port is not None

        async def scene() -> None:
            async with running(front, authority, tmp_path, pod=1, web=port) as proxy:
                spoofed = (
                    "-H",
                    "X-Forwarded-For: 203.0.113.9",
                    "-H",
                    "X-Forwarded-Proto: http",
                    "-H",
                    "Forwarded: for=203.0.113.9",
                )
                for http in (HTTP_1, HTTP_2):
                    status, body = await asked(proxy.curl("/admin/login/", http, *spoofed, admin=True))
                    assert (status, "csrfmiddlewaretoken" in body) == (200, True)
                status, _ = await asked(proxy.curl("/metrics", admin=True))
                assert status == 404

        play(scene())
    logged = capfd.readouterr().out
    assert "GET /admin/login/" in logged
    assert "203.0.113.9" not in logged
