"""What a simulator remembers: scripts waiting for requests, expected credentials, gates, and a record of everything."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from tests.simprovider.catalogue import Shelf
from tests.simprovider.counts import Cache
from tests.simprovider.record import Recorded
from tests.simprovider.render import Rendered
from tests.simprovider.routes import Route
from tests.simprovider.script import Match, Queued, from_mapping
from tests.simprovider.wire import Request

KEPT_RECORDS = 50_000
KEPT_BODIES = 256 * 1024 * 1024
OUR_KEYS = (b"lw_vk_live_", b"lw_vk_test_")


class Simulator:
    """All state of one simulated provider. Single-threaded: use it on its own loop, or through `SimInThread`."""

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self.keys: dict[str, str] = dict(keys or {})
        self.requests: deque[Recorded] = deque(maxlen=KEPT_RECORDS)
        self.queue: list[Queued] = []
        self.cache = Cache()
        self.responses = Shelf()
        self.contents = Shelf()
        self.canned: dict[Any, tuple[Rendered, dict[str, int]]] = {}
        self.held: dict[str, int] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._watchers: set[asyncio.Event] = set()
        self._number = 0
        self._kept = 0
        self.finished = 0

    # Scripts.

    def script(self, *, times: int = 1, skip: int = 0, match: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """The next `times` matching requests (0: all, until reset) are answered so. Checks the fields at once."""
        from_mapping(fields)
        wanted = Match(**(match or {}))
        self.queue.append(Queued(script=fields, match=wanted, times=times, skip=skip))

    def scripted(self, route: Route, request: Request, model: str) -> dict[str, Any]:
        """Fields of the first queued script that is for this request, and one use of it spent."""
        for queued in self.queue:
            if not _matches(queued.match, route, request, model):
                continue
            if queued.skip:
                queued.skip -= 1
                continue
            if queued.times:
                queued.times -= 1
                if queued.times == 0:
                    self.queue.remove(queued)
            return queued.script
        return {}

    # Gates.

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def release(self, name: str) -> None:
        """Everything that is held, or will be held, under this name goes on."""
        self.gate(name).set()

    async def hold(self, name: str) -> None:
        self.held[name] = self.held.get(name, 0) + 1
        self.changed()
        try:
            await self.gate(name).wait()
        finally:
            self.held[name] -= 1

    # Records.

    def open(self, request: Request, route: Route, keep_body: bool) -> Recorded:
        self._number += 1
        body = request.body
        record = Recorded(
            number=self._number,
            connection=request.connection,
            method=request.method,
            target=request.target,
            path=request.path,
            headers=request.headers,
            body=b"",
            vendor=route.vendor,
            dialect=route.dialect,
            operation=route.operation,
            prefix=route.prefix,
            model=route.model,
        )
        record.body_bytes = len(body)
        if keep_body:
            record.body_sha256 = hashlib.sha256(body).hexdigest()
            record.virtual_key_seen = _has_virtual_key(request)
            if self._kept + len(body) <= KEPT_BODIES:
                self._kept += len(body)
                record.body = body
        if not _asks_for_figures(request):
            self.requests.append(record)
        self.changed()
        return record

    def close(self, record: Recorded) -> None:
        self.finished += 1
        self.changed()

    def changed(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Waits for a condition on this object, looked at after every change; False when it did not come in time."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    watcher.clear()
                    await watcher.wait()
            return True
        except TimeoutError:
            return condition()
        finally:
            self._watchers.discard(watcher)

    def totals(self) -> dict[str, Any]:
        """What this provider would bill: requests and units by model, and how requests ended."""
        units: dict[str, int] = {}
        models: dict[str, dict[str, int]] = {}
        ended: dict[str, int] = {}
        for record in self.requests:
            ended[record.ended] = ended.get(record.ended, 0) + 1
            of_model = models.setdefault(record.model, {"requests": 0})
            of_model["requests"] += 1
            for unit, number in record.usage.items():
                units[unit] = units.get(unit, 0) + number
                of_model[unit] = of_model.get(unit, 0) + number
        seen = sum(record.virtual_key_seen for record in self.requests)
        return {
            "requests": len(self.requests),
            "finished": self.finished,
            "units": units,
            "models": models,
            "ended": ended,
            "virtual_keys_seen": seen,
        }

    def reset(self) -> None:
        """Forgets scripts, records, caches and gates; lets go whatever is held. Expected keys stay."""
        for gate in self._gates.values():
            gate.set()
        self._gates = {}
        self.requests.clear()
        self.queue.clear()
        self.cache.clear()
        self.responses.clear()
        self.contents.clear()
        self.canned.clear()
        self.finished = 0
        self._kept = 0
        self.changed()


def _matches(match: Match, route: Route, request: Request, model: str) -> bool:
    return (
        match.path in request.path
        and match.model in ("", model)
        and match.operation in ("", route.operation)
        and all(request.header(name.lower()) == value for name, value in match.header.items())
        and (not match.body or match.body.encode() in request.body)
    )


def _asks_for_figures(request: Request) -> bool:
    """By the control plane, by itself, a minute after an answer broke off: no client's request."""
    return any(name.lower() == "user-agent" and value == "aigateway-figures" for name, value in request.headers)


def _has_virtual_key(request: Request) -> bool:
    """A key of the gateway's own must never arrive here, wherever it hides."""
    head = "\n".join(f"{name}: {value}" for name, value in request.headers) + request.target
    return any(key in request.body or key.decode() in head for key in OUR_KEYS)
