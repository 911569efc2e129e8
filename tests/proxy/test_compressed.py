"""Request bodies in a content coding: what is scanned is the decoded form, what is sent is what came."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from functools import partial

import brotli
import pytest
import zstandard

from tests.core import build
from tests.proxy.stage import ANSWER, MESSAGE, Script, Stage, answer, play, post


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=4),
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_body_goes_on_as_it_came(coding: str):
    packed = CODINGS[coding](MESSAGE)
    stage = (
        Script()
        .client(post("/v1/messages", packed, headers={"Content-Encoding": coding.upper()}))
        .upstream_expects(f"content-encoding: {coding.upper()}".encode(), packed)
        .upstream(answer(ANSWER))
        .client_expects(ANSWER)
        .play()
    )
    assert stage.telemetry.records[0].model_requested == "claude-sonnet-4-5"


def test_deflate_without_its_wrapper_is_understood():
    packed = raw_deflate(MESSAGE)
    script = Script().client(post("/v1/messages", packed, headers={"Content-Encoding": "deflate"}))
    script.upstream_expects(packed).upstream(answer(ANSWER)).client_expects(ANSWER).play()


def test_a_compressed_body_that_is_rewritten_goes_on_decoded():
    packed = zstandard.ZstdCompressor().compress(MESSAGE.replace(b"claude-sonnet-4-5", b"fast"))
    wanted = MESSAGE.replace(b"claude-sonnet-4-5", b"claude-haiku-4-5")

    async def scene() -> None:
        async with Stage(rows=(build.alias(),)) as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", packed, headers={"Content-Encoding": "zstd"}))
            _, headers, body = await (await stage.provider()).request()
            assert "content-encoding" not in headers
            assert body == wanted

    play(scene())


async def refused(body: bytes, coding: str, **limits: int) -> tuple[int, str]:
    async with Stage(limits=limits) as stage:
        client = await stage.client()
        await client.send(post("/v1/messages", body, headers={"Content-Encoding": coding}))
        response = await client.response()
        assert stage.nobody_called()
        return response.status, json.loads(response.body)["error"]["code"]


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "gzip, br", "identity, gzip", "x", "chunked", "exi"])
def test_unknown_and_stacked_codings_are_415(coding: str):
    assert play(refused(gzip.compress(MESSAGE), coding)) == (415, "unsupported_encoding")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_413_and_never_unfolds(coding: str):
    bomb = CODINGS[coding](b" " * 40_000_000)
    assert len(bomb) < 200_000
    assert play(refused(bomb, coding)) == (413, "payload_too_large")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_within_the_ratio_but_beyond_the_cap_is_413(coding: str):
    packed = CODINGS[coding](random.Random(1).randbytes(100_000) * 3)
    assert play(refused(packed, coding, body_bytes=250_000)) == (413, "payload_too_large")


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda packed: packed[:-5], id="cut"),
        pytest.param(lambda packed: packed + b"more", id="followed by more"),
        pytest.param(lambda packed: b"\xff" * 40, id="garbage"),
        pytest.param(lambda packed: b"", id="empty"),
        pytest.param(lambda packed: MESSAGE, id="not compressed"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_400(coding, spoil):
    assert play(refused(spoil(CODINGS[coding](MESSAGE)), coding)) == (400, "bad_request")
