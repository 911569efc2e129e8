"""Many running streams at once, each watched to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx

from tests.contract.requests import Ask


@dataclass(slots=True)
class Watched:
    """One stream: what came, when its last byte came (event loop time), how it ended."""

    pod: int
    content: bytearray = field(default_factory=bytearray)
    status: int = 0
    ended_at: float = 0.0
    problem: str = ""
    started: asyncio.Event = field(default_factory=asyncio.Event)


async def _watch(client: httpx.AsyncClient, asked: Ask, watched: Watched, headers: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            async with client.stream("POST", asked.path, content=asked.body, headers=headers) as answer:
                watched.status = answer.status_code
                busy = watched.status == 503 and "retry-after" in answer.headers
                watched.content.clear()
                async for piece in answer.aiter_raw():
                    watched.content += piece
                    watched.ended_at = loop.time()
                    if not busy:
                        watched.started.set()
            if not busy:
                return
            await asyncio.sleep(int(answer.headers["retry-after"]))  # as CLIs do where a pod has too much to do
    except httpx.HTTPError as problem:
        watched.problem = type(problem).__name__
    finally:
        watched.ended_at = watched.ended_at or loop.time()
        watched.started.set()


class Streams:
    """Opens `count` streams over the given pods; `running()` returns once each has sent something."""

    def __init__(self, urls: list[str], key: str, asked: Ask, count: int, **headers: str) -> None:
        self._urls, self._asked, self._count = urls, asked, count
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {key}", **dict(asked.headers)}
        self._headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.watched: list[Watched] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Streams:
        limits = httpx.Limits(max_connections=None)
        self._clients = [
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=120.0, limits=limits) for url in self._urls
        ]
        for number in range(self._count):
            pod = number % len(self._clients)
            watched = Watched(pod)
            self.watched.append(watched)
            coroutine = _watch(self._clients[pod], self._asked, watched, self._headers)
            self._tasks.append(asyncio.ensure_future(coroutine))
        return self

    async def running(self) -> None:
        await asyncio.wait_for(asyncio.gather(*(watched.started.wait() for watched in self.watched)), 60)

    async def ended(self, within: float = 60.0) -> None:
        await asyncio.wait_for(asyncio.gather(*self._tasks), within)

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            await client.aclose()
