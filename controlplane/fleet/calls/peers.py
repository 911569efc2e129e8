"""How a call with a pod goes wrong, in gRPC's terms: who it is, what it sent, what we could not do."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from django.db import Error as DatabaseProblem
from google.protobuf.message import DecodeError, Message

from controlplane.fleet import pki
from controlplane.fleet.calls.session import Malformed
from controlplane.fleet.state.replica import Unavailable

Context = grpc.aio.ServicerContext[bytes, bytes]
LONGEST_ID = 64

Some = TypeVar("Some", bound=Message)


class NotAPod(Exception):
    """The peer is not who it would have to be; its call ends with PERMISSION_DENIED."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who calls: name in its certificate, and the certificate's SHA-256; both empty on an insecure loopback."""

    name: str = ""
    certificate: str = ""


def identified(context: Context, *, insecure: bool) -> Peer:
    """Raises NotAPod."""
    shown = context.auth_context()
    name = pki.pod_name(shown)
    if name is None:
        if not insecure:
            raise NotAPod("the client certificate names no pod")
        return Peer()
    pem = next(iter(shown["x509_pem_cert"])).decode("ascii")
    return Peer(name, hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest())


@asynccontextmanager
async def errors_as_status(context: Context) -> AsyncIterator[None]:
    """Say what went wrong in gRPC's terms, without internals."""
    try:
        yield
    except* Malformed as group:
        code, words = grpc.StatusCode.INVALID_ARGUMENT, _first(group)
    except* NotAPod as group:
        code, words = grpc.StatusCode.PERMISSION_DENIED, _first(group)
    except* (Unavailable, DatabaseProblem) as group:
        code, words = grpc.StatusCode.UNAVAILABLE, _first(group)
    else:
        return
    await context.abort(code, words)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    problem: BaseException = group
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem) if isinstance(problem, Malformed | NotAPod | Unavailable) else "the database is unavailable"


async def first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run them together until the first one ends, then end the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


def parsed(kind: type[Some], raw: bytes) -> Some:
    try:
        return kind.FromString(raw)
    except DecodeError as problem:
        raise Malformed(f"not a {kind.DESCRIPTOR.name}") from problem


def demand_ids(**ids: str) -> None:
    for name, value in ids.items():
        if not 0 < len(value) <= LONGEST_ID or not value.isprintable():
            raise Malformed(f"{name} is missing, too long or not printable")
