"""Long work on bodies goes on a step at a time: keys take turns, and everything else that is due comes in between."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Generator
from typing import Any

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import survey as surveying
from dataplane.proxy.http import codings
from dataplane.proxy.http.codings import decode_request
from dataplane.proxy.stages import read as reading
from dataplane.proxy.turns import Turns
from tests.proxy.stage import ANSWER, MESSAGE, Stage, answer, mint, play, post, virtual_key

MIB = 1024 * 1024
LARGE = MESSAGE[:-2] + b',{"role":"user","content":"' + b"x" * 4 * MIB + b'"}]}'


def steps(log: list[str], name: str, count: int) -> Generator[None, None, str]:
    for number in range(count):
        log.append(f"{name}{number}")
        yield
    return name


def still() -> float:
    return 0.0


def test_keys_take_turns_and_of_one_key_one_body_goes_after_another():
    log: list[str] = []

    async def scene() -> None:
        turns = Turns(still)
        work = [
            turns.take("k", steps(log, "a", 4)),
            turns.take("k", steps(log, "b", 2)),
            turns.take("other", steps(log, "c", 2)),
        ]
        assert await asyncio.gather(*work) == ["a", "b", "c"]

    play(scene())
    assert log == ["a0", "a1", "c0", "a2", "c1", "a3", "b0", "b1"]


def test_between_two_steps_the_loop_goes_round():
    log: list[str] = []

    async def scene() -> None:
        turns = Turns(still)

        async def elsewhere() -> None:
            while "a5" not in log:
                log.append("-")
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(elsewhere())
        await turns.take("k", steps(log, "a", 6))
        await beside

    play(scene())
    worked = "".join(each[0] for each in log)
    assert "aa" not in worked.removeprefix("a")


def test_the_loop_rests_from_long_steps_for_as_long_as_they_took(monkeypatch: pytest.MonkeyPatch):
    rests: list[float] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        now = iter(range(100))
        turns = Turns(lambda: float(next(now)))

        class Loop:
            create_future, call_soon = loop.create_future, loop.call_soon

            def call_later(self, delay: float, callback: Callable[[], None]) -> None:
                rests.append(delay)
                loop.call_soon(callback)

        monkeypatch.setattr("dataplane.proxy.turns.asyncio.get_running_loop", Loop)
        await turns.take("k", steps([], "a", 4))

    play(scene())
    assert rests == [1.0, 1.0, 1.0]


def test_what_a_step_raises_is_raised_where_it_is_waited_for_and_the_others_go_on():
    log: list[str] = []

    def failing() -> Generator[None, None, None]:
        yield
        raise Refusal(Code.BAD_REQUEST, "no")

    async def scene() -> None:
        turns = Turns(still)
        first = asyncio.ensure_future(turns.take("k", steps(log, "a", 2)))
        second = asyncio.ensure_future(turns.take("k", failing()))
        third = asyncio.ensure_future(turns.take("k", steps(log, "c", 2)))
        with pytest.raises(Refusal):
            await second
        assert (await first, await third) == ("a", "c")

    play(scene())


def test_whoever_is_stopped_while_waiting_lets_go_at_once_and_takes_nobodys_turn():
    ended: list[str] = []
    log: list[str] = []

    def work() -> Generator[None, None, None]:
        try:
            while True:
                yield
        finally:
            ended.append("let go")

    async def scene() -> None:
        turns = Turns(still)
        stopped = asyncio.ensure_future(turns.take("k", work()))
        behind = asyncio.ensure_future(turns.take("k", steps(log, "b", 2)))
        await asyncio.sleep(0)
        stopped.cancel()
        await asyncio.sleep(0)
        assert ended == ["let go"]
        assert await behind == "b"

    play(scene())


def test_a_body_of_a_single_step_goes_at_once():
    async def scene() -> None:
        taken = Turns(still).take("k", steps([], "a", 0))
        with pytest.raises(StopIteration) as end:
            taken.send(None)
        assert end.value.value == "a"

    play(scene())


def watch(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """Each slice of a survey."""

    def watched(body: bytes) -> surveying.Survey:
        for _ in (walk := surveying.survey(body)):
            log.append("slice")
            yield
        walk.close()
        return body

    monkeypatch.setattr(reading, "survey", watched)


def test_another_keys_request_is_answered_between_the_slices_of_a_large_body(monkeypatch: pytest.MonkeyPatch):
    log: list[str] = []
    token, _ = mint(2)

    async def scene() -> None:
        async with Stage(rows=(virtual_key(token, "vk_2"),)) as stage:
            watch(monkeypatch, log)
            large, small = await stage.client(), await stage.client()
            await small.send(post("/v1/messages", MESSAGE, token=token)[:-1])
            provider = asyncio.ensure_future(stage.provider())
            started = asyncio.Event()
            take = stage.pod.turns.take

            async def watched(key_id: str, work: Any) -> Any:
                started.set()
                return await take(key_id, work)

            monkeypatch.setattr(Turns, "take", lambda self, *args: watched(*args))
            await large.send(post("/v1/messages", LARGE))
            await started.wait()
            await small.send(MESSAGE[-1:])
            peer = await provider
            _, _, body = await peer.request()
            assert body == MESSAGE
            log.append("other")
            await peer.send(answer(ANSWER, extra="Connection: close\r\n"))
            assert (await small.response()).status == 200
            second = await stage.provider()
            assert (await second.request())[2] == LARGE
            await second.send(answer(ANSWER))
            assert (await large.response()).status == 200

    play(scene())
    assert log.count("slice") > 30
    assert 0 < log.index("other") < len(log) - 1


def test_small_bodies_take_no_turns(monkeypatch: pytest.MonkeyPatch):
    async def scene() -> None:
        async with Stage() as stage:
            monkeypatch.setattr(Turns, "take", lambda *_: pytest.fail("a turn was taken"))
            client = await stage.client()
            body = MESSAGE[:-2] + b',{"role":"user","content":"' + b"x" * 200_000 + b'"}]}'
            provider = asyncio.ensure_future(stage.provider())
            await client.send(post("/v1/messages", body))
            peer = await provider
            assert (await peer.request())[2] == body
            await peer.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/messages", '"type":"error"'),
        ("/v1/responses", '"code":"bad_request"'),
        ("/v1beta/models/m:generateContent", "INVALID_ARGUMENT"),
    ],
)
def test_too_much_structure_is_refused_in_the_dialect(path: str, shape: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            content = b"[" + b",".join([b"{}"] * 600_000) + b"]"
            await client.send(post(path, b'{"model":"m","messages":' + content + b"}"))
            refused = await client.response()
            assert refused.status == 400
            assert b"more than 500000 values" in refused.body
            assert shape in refused.body.decode().replace(": ", ":")
            assert stage.nobody_called()
            assert stage.pod.bodies.held == 0

    play(scene())


def test_what_is_nested_too_deeply_is_said_in_our_words():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(
                post("/v1/messages", b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
            )
            refused = await client.response()
            assert refused.status == 400
            assert json.loads(refused.body)["error"]["message"] == "the request body is nested too deeply"

    play(scene())


# decompression


def decoded(body: bytes, coding: bytes) -> tuple[bytes, list[int]]:
    sizes: list[int] = []
    walk = decode_request(body, coding, cap=64 * MIB, ratio=200, grows=sizes.append)
    turns = 0
    while True:
        try:
            next(walk)
        except StopIteration as end:
            assert len(sizes) == turns + 1
            return end.value, sizes
        turns += 1


def test_a_compressed_body_unfolds_in_turns_and_is_counted_as_it_grows():
    plain = b"".join(b"%d," % number for number in range(1_000_000))
    whole, sizes = decoded(gzip.compress(plain, 1), b"gzip")
    assert whole == plain
    assert sizes[-1] == len(plain)
    assert sizes == sorted(sizes)
    steps_of = [after - before for before, after in zip([0, *sizes], sizes, strict=False)]
    assert max(steps_of) <= codings._TURN + 128 * 1024
    assert len(sizes) > len(plain) // (codings._TURN + 128 * 1024)


def test_of_a_compressed_body_no_step_copies_what_is_left(monkeypatch: pytest.MonkeyPatch):
    """Else a body that hardly shrinks costs the square of its length."""
    fed: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, window: int) -> None:
            self._zlib = real(window)

        def decompress(self, data: bytes, most: int) -> bytes:
            fed.append(len(data))
            return bytes(self._zlib.decompress(data, most))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._zlib, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    plain = bytes(range(256)) * 8 * 1024
    packed = gzip.compress(plain, 0)
    assert decoded(packed, b"gzip")[0] == plain
    assert sum(fed) < 3 * len(packed)


def test_a_body_that_grows_beyond_the_pods_memory_is_refused_on_its_way():
    numbers = b" ".join([b"%d" % number for number in range(500_000)])
    packed = gzip.compress(MESSAGE.replace(b"hello", numbers))
    raw = post("/v1/messages", packed, headers={"Content-Encoding": "gzip"})

    async def scene() -> None:
        async with Stage(limits={"bodies_bytes": 2 * MIB}) as stage:
            client = await stage.client()
            await client.send(raw)
            refused = await client.response()
            assert (refused.status, b"overloaded" in refused.body) == (503, True)
            assert stage.pod.bodies.held == 0

    play(scene())
