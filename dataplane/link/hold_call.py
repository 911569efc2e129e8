"""One Hold call to the control plane: what has gathered goes out in one message, what comes in is passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from dataplane.core.money.messages import Hello, Welcome
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn
from dataplane.wire.holds import Down, Up, from_control_plane, to_control_plane
from protos import fleet_pb2 as pb

MOST_AT_ONCE: Final = 500  # in one message


class Listener(Protocol):
    """Whose call it is."""

    def welcomed(self, call: HoldCall, welcome: Welcome) -> None:
        """The first message has come: the call may be used."""
        ...

    def received(self, message: Down) -> None:
        """Any later message."""
        ...

    def keep_reporting(self) -> Coroutine[Any, Any, None]:
        """Runs beside the call from the welcome on, until it is cancelled."""
        ...


class HoldCall:
    """`run` once, then `end`; meanwhile `send`."""

    def __init__(self, stream: Any, pod_id: str, metrics: Metrics) -> None:
        self._stream = stream
        self._pod_id = pod_id
        self._metrics = metrics
        self._outgoing: asyncio.Queue[Up] = asyncio.Queue()
        self._over = asyncio.Event()
        self._parts: list[asyncio.Task[Any]] = []

    def send(self, message: Up) -> None:
        self._outgoing.put_nowait(message)

    def leave(self) -> None:
        """The lease session was ended: `run` returns, for another call."""
        self._over.set()

    async def sent(self) -> None:
        """Returns when everything has left."""
        await self._outgoing.join()

    async def run(self, hello: Hello, listener: Listener) -> str:
        """Returns why it ended; "" when it was left."""
        self.send(hello)
        self._parts = [
            spawn(work, f"holds-{name}")
            for name, work in (("write", self._write()), ("read", self._read(listener)), ("over", self._over.wait()))
        ]
        try:
            done, _ = await asyncio.wait(self._parts, return_when=asyncio.FIRST_COMPLETED)
            if self._parts[2] in done:
                return ""
            for part in done:
                part.result()
            return "the server ended the call"
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        except DecodeError:
            return "a message cannot be parsed"
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            return str(error) or type(error).__name__  # written to a call that has ended

    async def end(self) -> None:
        for part in self._parts:
            part.cancel()
        self._stream.cancel()
        if self._parts:
            await asyncio.wait(self._parts)

    async def _write(self) -> None:
        """What has gathered while the last message went out goes in one."""
        while True:
            message = to_control_plane(self._pod_id, await self._outgoing.get())
            more = min(self._outgoing.qsize(), MOST_AT_ONCE)
            for _ in range(more):
                message.MergeFrom(to_control_plane(self._pod_id, self._outgoing.get_nowait()))
            self._metrics.count("budget_messages_total")
            await self._stream.write(message)
            for _ in range(1 + more):
                self._outgoing.task_done()

    async def _read(self, listener: Listener) -> None:
        reporting: asyncio.Task[None] | None = None
        try:
            async for message in self._stream:
                if reporting is None:
                    listener.welcomed(self, _welcome(message))
                    reporting = spawn(listener.keep_reporting(), "holds-report")
                    continue
                for value in from_control_plane(message):
                    listener.received(value)
        finally:
            if reporting is not None:
                reporting.cancel()


def _welcome(message: pb.HoldDown) -> Welcome:
    """Raises InvalidStateError."""
    welcome = next(from_control_plane(message), None)
    if not isinstance(welcome, Welcome):
        raise asyncio.InvalidStateError("the first message was not Welcome")
    return welcome
