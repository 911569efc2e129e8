"""The twin of `native/load.c` for machines without a compiler: same arguments, same JSON, a third of the speed."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httptools
import uvloop

from tests.bench.answers import END

ANY_STAMP = re.compile(rb"~t(\d{16})~")
CARRY = 32
SLOW_EVERY_S = 0.1
LONGEST_QUEUE = 65536
NUMBERS = ("connections", "seconds", "rate", "each", "stagger", "slow", "finish", "rotate", "patience")


@dataclass(slots=True)
class Counts:
    done: int = 0
    wrong: int = 0
    broken: int = 0
    unanswered: int = 0
    late: int = 0
    events: int = 0
    bytes: int = 0
    status: Counter[int] = field(default_factory=Counter)
    whole: Counter[int] = field(default_factory=Counter)
    first: Counter[int] = field(default_factory=Counter)
    travelled: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)


class Client(asyncio.Protocol):
    """One connection: asks, reads the answer, and tells the plan that it is free."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.transport: asyncio.Transport | None = None
        self.busy = False
        self.asked = 0
        self.answered_here = 0

    def ask(self, due: float) -> None:
        self.due, self.busy, self.ended, self.body_seen = due, True, False, False
        self.asked += 1
        self.carry = b""
        self.request = self.plan.next_request()
        self.plan.busy += 1
        self.send()

    def send(self) -> None:
        if self.transport is None or self.transport.is_closing():
            self.plan.keep(asyncio.get_running_loop().create_task(self.connect()))
        else:
            self.parser = httptools.HttpResponseParser(self)
            self.heard = False
            self.transport.write(self.request)

    async def connect(self) -> None:
        self.answered_here = 0
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.plan.port)
        except OSError:
            self.finish("broken")
            return
        self.send()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def connection_lost(self, problem: Exception | None) -> None:
        self.transport = None
        if self.busy and self.answered_here and not self.heard:
            self.send()  # the peer retired the connection while our request was on its way
        elif self.busy:
            self.finish("broken")

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self.parser.feed_data(data)
        if self.plan.slow and self.transport is not None:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(SLOW_EVERY_S, self.transport.resume_reading)

    def on_body(self, body: bytes) -> None:
        counts, now = self.plan.counts, time.monotonic()
        if not self.body_seen:
            self.body_seen = True
            if self.parser.get_status_code() == 200:
                counts.first[int(1e6 * (now - self.due))] += 1
        counts.bytes += len(body)
        text, seen = self.carry + body, len(self.carry)
        counts.events += text.count(b"\n\n") - self.carry.count(b"\n\n")
        for found in ANY_STAMP.finditer(text):
            if found.end() > seen and int(found[1]):
                counts.travelled[max(0, int(1e6 * now) - int(found[1]))] += 1
        self.ended = self.ended or END.encode() in text
        self.carry = text[-CARRY:]

    def on_message_complete(self) -> None:
        self.answered_here += 1
        status = self.parser.get_status_code()
        self.plan.counts.status[status] += 1
        if not self.parser.should_keep_alive() and self.transport is not None:
            self.transport.close()
            self.transport = None
        self.finish("done" if status == 200 and self.ended else "wrong")

    def finish(self, end: str) -> None:
        counts = self.plan.counts
        setattr(counts, end, getattr(counts, end) + 1)
        if end != "broken":
            took = int(1e6 * (time.monotonic() - self.due))
            (counts.whole if end == "done" else counts.refused)[took] += 1
        self.busy = False
        self.plan.busy -= 1
        asyncio.get_running_loop().call_soon(self.plan.free, self)


class Plan:
    """Who asks when: closed loop, or open loop at a rate."""

    def __init__(self, port: int, requests: list[bytes], numbers: dict[str, float]) -> None:
        self.port, self.requests, self.turn = port, requests, 0
        self.connections, self.each = int(numbers["connections"]), int(numbers["each"])
        self.seconds, self.rate, self.patience = numbers["seconds"], numbers["rate"], numbers["patience"]
        self.stagger, self.slow = numbers["stagger"], bool(numbers["slow"])
        self.rotates = bool(numbers["rotate"])
        self.waits = bool(numbers["finish"] or self.rate or self.each)
        self.counts = Counts()
        self.busy = 0
        self.idle: deque[Client] = deque()
        self.waiting: deque[float] = deque()
        self.tasks: set[asyncio.Task[None]] = set()

    def keep(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def next_request(self) -> bytes:
        self.turn += 1
        return self.requests[(self.turn - 1) % len(self.requests)]

    def free(self, client: Client) -> None:
        if self.rate:
            if self.waiting:
                client.ask(self.waiting.popleft())
            else:
                self.idle.append(client)
        elif time.monotonic() < self.until and (not self.each or client.asked < self.each):
            client.ask(time.monotonic())

    async def run(self) -> float:
        started = time.monotonic()
        self.until = started + self.seconds
        await (self.open_loop(started) if self.rate else self.closed_loop(started))
        while time.monotonic() < self.until:
            if self.each and not self.busy:
                break
            await asyncio.sleep(min(0.02, max(0.0, self.until - time.monotonic())))
        while self.waits and (self.busy or self.waiting):
            if time.monotonic() > self.until + self.patience:
                break
            await asyncio.sleep(0.02)
        if self.waits:
            self.counts.unanswered += self.busy + len(self.waiting)
        return time.monotonic() - started

    async def closed_loop(self, started: float) -> None:
        for number in range(self.connections):
            if (due := started + self.stagger * number / self.connections) > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            Client(self).ask(max(due, started))

    async def open_loop(self, started: float) -> None:
        self.idle.extend(Client(self) for _ in range(self.connections))
        for number in range(int(self.rate * self.seconds)):
            if (due := started + number / self.rate) > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            if self.idle:
                (self.idle.popleft() if self.rotates else self.idle.pop()).ask(due)
            elif len(self.waiting) < LONGEST_QUEUE:
                self.waiting.append(due)
                self.counts.late += 1
            else:
                self.counts.unanswered += 1


def main(words: list[str]) -> None:
    port, words = int(words[0]), words[1:]
    numbers = dict.fromkeys(NUMBERS, 0.0) | {"connections": 1.0, "seconds": 1.0, "patience": 10.0}
    while len(words) > 1 and words[0] in NUMBERS:
        numbers[words[0]] = float(words[1])
        words = words[2:]
    plan = Plan(port, [Path(path).read_bytes() for path in words], numbers)
    seconds = uvloop.run(plan.run())
    counts = plan.counts
    simple = {
        name: getattr(counts, name) for name in ("done", "wrong", "broken", "unanswered", "late", "events", "bytes")
    }
    spread = {name: sorted(getattr(counts, name).items()) for name in ("whole", "first", "travelled", "refused")}
    print(json.dumps({"seconds": seconds, "status": dict(counts.status)} | simple | spread))


if __name__ == "__main__":
    main(sys.argv[1:])
