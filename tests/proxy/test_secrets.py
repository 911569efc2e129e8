"""Nothing secret leaves its place: not ours to a provider, not a provider's to a client, neither to a record."""

from __future__ import annotations

import re

import pytest

from tests.proxy.stage import CREDENTIALS, MESSAGE, TOKEN, Stage, get, play, post

REQUESTS = {
    "anthropic": ("/v1/messages", MESSAGE),
    "openai": ("/v1/chat/completions", b'{"model":"gpt-4.1","messages":[]}'),
    "gemini": ("/v1beta/models/gemini-2.5-pro:generateContent", b'{"contents":[]}'),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "500 Oops"])
def test_a_provider_that_echoes_all_headers_leaks_none_of_its_own_credential(name: str, status: str):
    path, body = REQUESTS[name]

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post(path, body, headers={"x-api-key": TOKEN}))
            provider = await stage.provider()
            line, headers, _ = await provider.request()
            assert TOKEN not in line.decode() + repr(headers)
            assert CREDENTIALS[name] in repr(headers)
            echo = "".join(
                f"{prefix}{key}: {value}\r\n"
                for prefix in ("", "x-echo-", "anthropic-", "openai-", "x-ms-")
                for key, value in headers.items()
                if key not in ("content-length", "host")
            )
            echo += (
                f"Location: http://elsewhere.test/?key={CREDENTIALS[name]}\r\nset-cookie: key={CREDENTIALS[name]}\r\n"
            )
            await provider.send(
                f"HTTP/1.1 {status}\r\n{echo}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()
            )
            response = await client.response()
            everything = repr(response.headers) + repr(response.body)
            assert CREDENTIALS[name] not in everything
            assert TOKEN not in everything
            assert "location" not in response.headers
            record = await stage.settled()
            assert TOKEN not in repr(record) + repr(stage.journal.admitted)
            assert CREDENTIALS[name] not in repr(record)

    play(scene())


def test_no_header_of_a_client_chooses_where_its_request_goes():
    spoofs = {
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-For": "1.2.3.4",
        "Forwarded": "host=evil.test",
        "X-Original-Url": "/admin",
        "X-Langwatch-Base-Url": "http://evil.test",
        "x-portkey-custom-host": "http://evil.test",
        "Proxy-Authorization": "Basic x",
        "Via": "1.1 evil",
    }

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE, headers=spoofs).replace(b"gateway.test", b"evil.test"))
            provider = await stage.provider()
            line, headers, _ = await provider.request()
            assert headers["host"] == f"127.0.0.1:{stage.provider_port}"
            assert line == b"POST /v1/messages HTTP/1.1"
            assert not {"x-forwarded-host", "x-forwarded-for", "forwarded", "proxy-authorization", "via"} & set(headers)

    play(scene())


def test_hop_by_hop_headers_stop_here():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            hop = {
                "Connection": "keep-alive, X-Hop",
                "X-Hop": "1",
                "TE": "trailers",
                "Keep-Alive": "timeout=5",
                "Upgrade": "h2c",
            }
            await client.send(post("/v1/messages", MESSAGE, headers=hop))
            provider = await stage.provider()
            _, headers, _ = await provider.request()
            assert not {"connection", "x-hop", "te", "keep-alive", "upgrade", "transfer-encoding"} & set(headers)
            await provider.send(
                b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=1\r\nProxy-Authenticate: x\r\n"
                b"Content-Length: 2\r\n\r\n{}"
            )
            got = (await client.response()).headers
            assert not {"keep-alive", "proxy-authenticate"} & set(got)

    play(scene())


def test_redirects_are_not_followed():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(
                b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
            )
            response = await client.response()
            assert response.status == 307
            assert stage.nobody_called()

    play(scene())


def test_tenants_that_share_a_connection_see_nothing_of_each_other():
    from tests.proxy.stage import ANSWER, answer, mint, virtual_key

    tokens = [mint(seed)[0] for seed in range(10, 30)]
    keys = tuple(virtual_key(token, f"vk_{number}") for number, token in enumerate(tokens))

    async def scene() -> None:
        async with Stage(rows=keys) as stage:
            clients = [await stage.client() for _ in tokens]
            for number, (client, token) in enumerate(zip(clients, tokens, strict=True)):
                canary = f"canary-{number:04d}".encode()
                await client.send(post("/v1/messages", MESSAGE.replace(b"hello", canary), token=token))
            for _ in tokens:
                provider = await stage.provider()
                _, _, body = await provider.request()
                found = re.findall(rb"canary-\d{4}", body)
                assert len(found) == 1
                await provider.send(answer(ANSWER.replace(b"Hi", found[0])))
            for number, client in enumerate(clients):
                response = await client.response()
                assert re.findall(rb"canary-\d{4}", response.body) == [f"canary-{number:04d}".encode()]
            await stage.settled(len(tokens))
            assert {record.key_id for record in stage.telemetry.records} == {key.id for key in keys}

    play(scene())


def test_a_defect_of_ours_says_nothing_of_itself(capfd: pytest.CaptureFixture[str]):
    async def scene() -> None:
        async with Stage() as stage:

            def defect(record: object) -> None:
                raise RuntimeError(f"cannot write {CREDENTIALS['anthropic']}")

            stage.journal.admit = defect  # type: ignore[method-assign]
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            response = await client.response()
            assert response.status == 500
            assert b"cannot write" not in response.body
            await client.send(get("/api/hello"))
            assert (await client.response()).status == 200
            assert [record.refusal_code for record in stage.telemetry.records] == ["internal_error", ""]

    play(scene())
