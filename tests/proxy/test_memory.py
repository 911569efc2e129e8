"""A connection's memory of heads: whatever came before, a head is read as if it were the first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.authenticate import Authenticated
from dataplane.core.snapshot import KeyState, Snapshot
from dataplane.proxy.client.memory import Admitted, HeadMemory
from dataplane.proxy.http.framing import ProtocolError
from dataplane.proxy.http.heads import END_OF_HEAD, HeadBounds
from tests.proxy.corpus import CASES
from tests.proxy.stage import ANSWER, MESSAGE, TOKEN, Stage, answer, mint, play, post, virtual_key

ADMITTED = Admitted(Snapshot.EMPTY, {}, Authenticated(virtual_key(), "", 0), 0)
BOUNDS = HeadBounds(64 * 1024, 128, 8 * 1024)
HEADS = [
    case.raw[: case.raw.index(END_OF_HEAD) + 4] for case in CASES if END_OF_HEAD in case.raw and len(case.raw) < 5000
]
LINES = [
    b"Content-Length: 2\r\n",
    b"content-length: 7\r\n",
    b"CONTENT-LENGTH: 2\r\n",
    b"Content-Length: 2 \r\n",
    b"Content-Length: +2\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X-A: 1\r\n",
    b" folded\r\n",
    b"Expect: 100-continue\r\n",
]


def reading(memory: HeadMemory, block: bytes) -> object:
    try:
        caller, length = memory.read(block)
    except ProtocolError as error:
        return error.status
    head = caller.head
    fields = [field for field in head.fields if field[0].lower() != b"content-length"]
    return length, head.method, head.target, fields, head.first, head.keep_alive, head.chunked, caller.path


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    first, *lines = draw(st.sampled_from(HEADS))[:-4].split(b"\r\n")
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(LINES))[:-2])
    return b"\r\n".join([first, *lines]) + END_OF_HEAD


@given(st.lists(heads(), min_size=1, max_size=8), st.data())
def test_a_head_is_read_alike_whatever_came_before_it(blocks: list[bytes], data: st.DataObject):
    memory = HeadMemory(BOUNDS)
    for block in [*blocks, *data.draw(st.permutations(blocks))]:
        assert reading(memory, block) == reading(HeadMemory(BOUNDS), block)


def test_a_head_that_repeats_is_the_same_caller_whatever_its_length_says():
    memory = HeadMemory(BOUNDS)
    first, _ = memory.read(post("/v1/messages", b"{}")[:-2])
    second, length = memory.read(post("/v1/messages", b"{  }")[:-4])
    assert second is first
    assert length == 4
    assert memory.read(post("/v1/messages", b"{}", headers={"X-A": "1"})[:-2])[0] is not first


def test_a_memory_holds_a_few_heads_of_modest_size():
    memory = HeadMemory(BOUNDS)
    for number in range(50):
        caller, _ = memory.read(post(f"/v1/messages?n={number}"))
        caller.admitted = ADMITTED
        memory.read(post("/v1/messages", headers={"X-Large": "x" * 5_000, "X-Number": str(number)}))
        assert memory.read(post(f"/v1/messages?n={number}"))[0] is caller
    assert 1 <= len(memory._memos) <= 4
    assert max(len(known) for known, _ in memory._memos) <= 4096


def test_who_was_not_let_in_is_remembered_until_the_next_head():
    memory = HeadMemory(BOUNDS)
    good, _ = memory.read(post("/v1/messages"))
    good.admitted = ADMITTED
    for number in range(50):
        memory.read(post(f"/v1/messages?n={number}"))
        assert len(memory._memos) == 2
    assert memory.read(post("/v1/messages"))[0] is good


CHANGES: dict[str, dict[str, Any]] = {
    "disabled": {"state": KeyState.DISABLED, "revision": 9},
    "expired": {"expires_at_ms": 1, "revision": 9},
    "another secret": {"secrets": virtual_key(mint(3)[0]).secrets, "revision": 9},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_key_that_was_good_a_request_ago_is_checked_again_when_anything_changed(change: dict[str, Any]):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200
            stage.configuration.change(replace(virtual_key(), **change))
            await client.send(post("/v1/messages", MESSAGE))
            assert (await client.response()).status in (401, 403)

    play(scene())


def test_a_key_that_expires_between_two_requests_of_a_connection_is_refused():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.change(virtual_key(expires_at_ms=stage.wall_ms + 1000, revision=9))
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200
            stage.wall_ms += 1000
            await client.send(post("/v1/messages", MESSAGE))
            refused = await client.response()
            assert refused.status in (401, 403)
            assert b"expired" in refused.body

    play(scene())


def test_another_key_on_the_same_connection_is_another_caller():
    async def scene() -> None:
        token, _ = mint(2)
        async with Stage(rows=(virtual_key(token, "vk_2"),)) as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            for number, each in enumerate((TOKEN, token, TOKEN, "lw_vk_live_WRONG")):
                if number:
                    await client.send(post("/v1/messages", MESSAGE, token=each))
                    if each.endswith("WRONG"):
                        assert (await client.response()).status == 401
                        continue
                    await provider.request()
                await provider.send(answer(ANSWER))
                assert (await client.response()).status == 200
            await stage.eventually(lambda: not stage.telemetry.open)
            assert [record.key_id for record in stage.telemetry.records] == ["vk_1", "vk_2", "vk_1", ""]

    play(scene())
