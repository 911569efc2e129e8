"""One scrape, all workers: whoever answers it asks the others over private sockets and labels each one's figures.

A scraper that comes in at the shared port reaches a random worker; without this its counters would jump.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dataplane.telemetry import logs

ANSWER_S: Final = 1.0  # for a sibling's figures; one that does not answer is `worker_up 0`
UP: Final = "aigateway_worker_up"


class Siblings:
    """Worker `number` of 1 … `count`, which meet in `directory`. `own`: this worker's figures in Prometheus' text."""

    def __init__(self, directory: Path, number: int, count: int, own: Callable[[], bytes]) -> None:
        self._directory = directory
        self._number = number
        self._count = count
        self._own = own
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        path = self._path(self._number)
        path.unlink(missing_ok=True)  # of a worker that was killed
        self._server = await asyncio.start_unix_server(self._answer, str(path))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._path(self._number).unlink(missing_ok=True)

    async def exposition(self) -> bytes:
        others = [number for number in range(1, self._count + 1) if number != self._number]
        answers = await asyncio.gather(*map(self._ask, others))
        figures = dict(zip(others, answers, strict=True)) | {self._number: self._own()}
        return merged(dict(sorted(figures.items())))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._own())
        writer.close()

    async def _ask(self, number: int) -> bytes:
        """Empty when it does not answer."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(str(self._path(number)))
                try:
                    return await reader.read(-1)
                finally:
                    writer.close()
        except OSError as error:  # a TimeoutError is one
            logs.warning("worker_not_scraped", worker=number, error=error)
            return b""

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.sock"


def merged(texts: Mapping[int, bytes]) -> bytes:
    """Expositions by worker as one: each family once, each sample with the label `worker`."""
    heads: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    for number, text in texts.items():
        label = b'worker="%d"' % number
        family = b""
        for line in text.splitlines():
            if line.startswith(b"#"):
                family = line.split(b" ", 3)[2]
                lines = heads.setdefault(family, [])
                if line not in lines:
                    lines.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, label))
    heads[UP.encode()] = [
        b"# HELP %s Whether this worker gave its figures to the one that answered." % UP.encode(),
        b"# TYPE %s gauge" % UP.encode(),
    ]
    samples[UP.encode()] = [b'%s{worker="%d"} %d' % (UP.encode(), number, bool(text)) for number, text in texts.items()]
    return b"\n".join(line for family in heads for line in [*heads[family], *samples.get(family, [])]) + b"\n"


def _labelled(sample: bytes, label: bytes) -> bytes:
    name, brace, rest = sample.partition(b"{")
    if brace:
        return b"%s{%s,%s" % (name, label, rest)
    name, _, value = sample.partition(b" ")
    return b"%s{%s} %s" % (name, label, value)
