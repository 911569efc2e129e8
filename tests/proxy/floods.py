"""More than anybody reads: somebody who writes on, and the moment in which nothing more can be written."""

from __future__ import annotations

import asyncio

from tests.proxy.stage import Peer


async def write_on(peer: Peer, piece: bytes, times: int, progress: list[int]) -> None:
    for number in range(times):
        peer.writer.write(piece)
        await peer.writer.drain()
        progress.append(number)


async def stuck(write_more: asyncio.Task[None], progress: list[int]) -> None:
    """Returns when nothing more can be written."""
    quiet, before = 0, -1
    while quiet < 50:
        assert not write_more.done()
        quiet, before = (quiet + 1, before) if len(progress) == before else (0, len(progress))
        await asyncio.sleep(0.002)
