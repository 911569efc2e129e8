"""The Hold call: pods ask for money, report, give back; we grant, deny, and ask others to give back before we deny."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import grpc
from django.db import Error as DatabaseProblem

from controlplane.budgets.answers import Ended, Message, NotYours, PodMessage
from controlplane.fleet.calls.booking import NoteGrown
from controlplane.fleet.calls.hold_writer import HoldWriter
from controlplane.fleet.calls.peers import Context, NotAPod, Peer, demand_ids, first_of, parsed
from controlplane.fleet.calls.session import Malformed
from controlplane.fleet.database import in_database
from controlplane.fleet.state.recalls import send
from dataplane.core.money.lease_rows import LessorRules
from dataplane.core.money.lessor import Recalls
from dataplane.core.money.messages import AccountRef, LiveHold, Recall, Report
from dataplane.wire.holds import from_pod, hello_from, to_pod
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

HELLO_S = 10.0
WRITE_S = 20.0  # the call of a peer that takes nothing for so long is ended
MOST_OUTGOING = 10_000
FULL_BYTES = 1 << 20  # the peer takes 4 MiB
RECALLS_S = 1.0  # nobody waits longer for others' money
MOST_GROWN = 5_000  # of one pod, that wait for their records
MOST_UNDER_WAY = 2_000  # messages of one pod
RULES = LessorRules()

Raw = TypeVar("Raw")
Value = TypeVar("Value")


class HoldCalls:
    """Every Hold call of this process; `run()` for as long as it serves."""

    def __init__(self, note_grown: NoteGrown) -> None:
        self._writer = HoldWriter()
        self._note_grown = note_grown
        self._calls: dict[str, HoldCall] = {}

    async def run(self) -> None:
        await self._writer.run()

    async def serve(self, context: Context, peer: Peer, closing: asyncio.Event) -> None:
        hello = await _hello(context)
        call = HoldCall(self, context, hello, peer)
        welcome = await self.answer(call.message(_checked(hello_from, hello)))
        old = self._calls.get(call.session_id)
        if old is not None:
            old.replaced.set()
        self._calls[call.session_id] = call
        call.say(welcome)
        try:
            await call.run(closing)
        finally:
            if self._calls.get(call.session_id) is call:
                del self._calls[call.session_id]

    async def answer(self, message: PodMessage) -> bytes:
        """Empty: nothing to say. Raises Unavailable, NotAPod; `Over` when the session is closed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + RECALLS_S
        while True:
            answer = await self._writer.answer(message)
            if not isinstance(answer, Recalls):
                break
            await self._recall(answer)
            message = replace(message, recalls=message.recalls + 1 if loop.time() < until else RULES.recalls)
        if isinstance(answer, NotYours):
            raise NotAPod("this session belongs to another pod")
        if isinstance(answer, Ended):
            raise Over("the session is closed")
        return answer or b""

    async def note_grown(self, session_id: str, holds: Sequence[LiveHold]) -> Sequence[LiveHold]:
        """Returns those that could not be written: they would be estimated too low should the pod die."""
        try:
            return await in_database(self._note_grown, session_id, holds)
        except DatabaseProblem:
            return holds

    def evict(self, certificates: Collection[str], problem: NotAPod) -> None:
        """End the calls of the pods with these certificates."""
        for call in list(self._calls.values()):
            if call.certificate in certificates:
                call.end(problem)

    def recalled(self, session_id: str, accounts: Sequence[AccountRef]) -> None:
        """Ask this pod to give back what idles, if it is connected here."""
        call = self._calls.get(session_id)
        if call is not None:
            call.say(to_pod(Recall(tuple(accounts))).SerializeToString())

    async def _recall(self, recalls: Recalls) -> None:
        """The pods connected here, and through their own servers the others."""
        for session_id, accounts in recalls.accounts.items():
            self.recalled(session_id, accounts)
        elsewhere = {id: accounts for id, accounts in recalls.accounts.items() if id not in self._calls}
        if elsewhere:
            with suppress(DatabaseProblem):
                await in_database(send, elsewhere)
        await self._writer.given_back(recalls.lacking, RULES.answer_ms / 1000)


class Over(Exception):
    """The session is closed: the call ends, and the pod starts another one."""


class HoldCall:
    """One pod's stream."""

    def __init__(self, hold_calls: HoldCalls, context: Context, hello: wire.HoldHello, peer: Peer) -> None:
        # The lease session that the pod said hello with.
        self.session_id = hello.session_id
        self.certificate = peer.certificate
        # Set when the pod has a newer call, or takes nothing.
        self.replaced = asyncio.Event()
        # Gets the exception that the call is to end with.
        self._problem: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Running requests that hold more than was written of them yet.
        self._grown: dict[tuple[str, int], LiveHold] = {}
        self._pod_id = hello.pod_id
        self._identity = peer.name
        self._hold_calls = hold_calls
        self._context = context
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MOST_OUTGOING)
        # Bounds the messages that are being answered.
        self._under_way = asyncio.Semaphore(MOST_UNDER_WAY)

    def message(self, content: Message) -> PodMessage:
        return PodMessage(self.session_id, self._pod_id, self._identity, content)

    def say(self, message: bytes) -> None:
        """The call of a pod that takes nothing is ended: what the pod misses, it asks for again."""
        if not message:
            return
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self.replaced.set()

    def end(self, problem: BaseException) -> None:
        if not self._problem.done():
            self._problem.set_exception(problem)

    async def run(self, closing: asyncio.Event) -> None:
        """Until either side ends it. Ends quietly when the session is closed, or the peer takes nothing."""
        try:
            await first_of(self._send(), self._receive(), self._until_problem(), closing.wait(), self.replaced.wait())
        except* (Over, TimeoutError):
            log.info("budget_call_ended session=%s", self.session_id)

    async def _until_problem(self) -> None:
        await self._problem

    async def _send(self) -> None:
        """What one commit has answered goes out in one message."""
        while True:
            messages = [await self._outgoing.get()]
            size = len(messages[0])
            while size < FULL_BYTES and not self._outgoing.empty():
                messages.append(self._outgoing.get_nowait())
                size += len(messages[-1])
            async with asyncio.timeout(WRITE_S):
                await self._context.write(b"".join(messages))

    async def _receive(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while (raw := await self._context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                for content in _checked(_contents, parsed(wire.HoldUp, raw)):
                    await self._under_way.acquire()
                    tasks.create_task(self._handle(content))  # they are written in the order in which they came

    async def _handle(self, content: Message) -> None:
        try:
            self.say(await self._hold_calls.answer(self.message(content)))
            if isinstance(content, Report):
                await self._grow(content.grown)
        finally:
            self._under_way.release()

    async def _grow(self, holds: Sequence[LiveHold]) -> None:
        """Said once: what cannot be written, since its record is still on its way, is tried again with every report."""
        self._grown.update({(hold.request_id, hold.attempt): hold for hold in holds})
        if not self._grown:
            return
        waiting = list(self._grown.values())[-MOST_GROWN:]
        self._grown.clear()
        for hold in await self._hold_calls.note_grown(self.session_id, waiting):
            self._grown.setdefault((hold.request_id, hold.attempt), hold)


def _contents(up: wire.HoldUp) -> list[Message]:
    if up.HasField("hello"):
        raise ValueError("a Hello comes once, and first")
    if not (up.asks or up.returned or up.reports):
        raise ValueError("nothing is said")
    return from_pod(up)


def _checked(parse: Callable[[Raw], Value], message: Raw) -> Value:
    """Raises Malformed where `parse` raises ValueError."""
    try:
        return parse(message)
    except ValueError as problem:
        raise Malformed(str(problem)) from problem


async def _hello(context: Context) -> wire.HoldHello:
    try:
        async with asyncio.timeout(HELLO_S):
            raw = await context.read()
    except TimeoutError as problem:
        raise Malformed("no Hello came") from problem
    if raw is grpc.aio.EOF:  # type: ignore[attr-defined]
        raise Malformed("the stream ended before a Hello")
    up = parsed(wire.HoldUp, raw)
    if not up.HasField("hello"):
        raise Malformed("the first message must be a Hello")
    demand_ids(pod_id=up.hello.pod_id, session_id=up.hello.session_id)
    return up.hello
