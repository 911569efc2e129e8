"""Two workers behind one port are two pods: a revocation reaches each; one that dies takes its own streams with it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.house import House, eventually
from tests.contract.requests import ask
from tests.contract.streams import Streams

pytestmark = pytest.mark.processes

STREAMS = 40  # with so many connections the kernel gives some to each worker


def open_by_worker(house: House) -> dict[str, float]:
    """Running exchanges as /metrics shows them, by worker."""
    found = re.findall(r'aigateway_open_exchanges\{worker="(\d)"\} (\S+)', house.metrics())
    return {worker: float(count) for worker, count in found}


def worker_pids(house: House) -> list[int]:
    parent = house.pods[0].process
    assert parent is not None
    return [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]


async def story(house: House, key_id: str, token: str) -> Streams:
    asked = ask("anthropic_messages", streaming=True, text="Talk for a long time.")
    pace = {"x_sim_events": "100000", "x_sim_interval_ms": "100"}
    async with Streams(house.layout.gateway_urls, token, asked, STREAMS, **pace) as streams:
        await streams.running()
        shares = await asyncio.to_thread(open_by_worker, house)
        assert set(shares) == {"1", "2"}
        assert min(shares.values()) > 0
        os.kill(worker_pids(house)[0], signal.SIGKILL)
        lost = [watched for watched in streams.watched if watched.problem]
        while not lost:
            await asyncio.sleep(0.02)
            lost = [watched for watched in streams.watched if watched.problem]
        await asyncio.to_thread(house.post, f"virtual-keys/{key_id}/revoke")
        await streams.ended()
    return streams


def test_a_killed_worker_ends_its_streams_alone_and_a_revocation_those_of_the_others(
    build_house: Callable[..., House],
) -> None:
    house = build_house(pod_settings={"AIGATEWAY_WORKERS": "2"})
    eventually("both workers are there", lambda: set(open_by_worker(house)) == {"1", "2"})
    minted = house.mint()
    streams = asyncio.run(story(house, minted["id"], minted["token"]))
    lost = [watched for watched in streams.watched if watched.problem]
    cut = [watched for watched in streams.watched if b"virtual_key_revoked" in watched.content]
    assert 0 < len(lost) < STREAMS
    assert len(lost) + len(cut) == STREAMS

    def booked() -> bool:
        return len(house.usage(key_id=minted["id"])) == STREAMS

    eventually("what the dead worker had begun is booked too, from its files, by a sibling", booked)
