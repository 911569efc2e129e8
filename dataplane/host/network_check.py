"""The start-up network check: a pod is not started before each address that its operator named was reached once.

Through the one connect gate, as a provider would be, private networks included: the operator named them.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable, Sequence

from dataplane.core.endpoints import Reachable
from dataplane.link.channel import Backoff
from dataplane.proxy.life import Life
from dataplane.proxy.provider.gate import Destination, Forbidden, Gate
from dataplane.telemetry import logs

OK = "ok"
NOT_YET = "not reached yet"


async def reach_all(gate: Gate, wanted: Sequence[Reachable], life: Life) -> None:
    """Returns when each was reached; meanwhile `life.network` says what became of each."""
    life.network = {str(each): NOT_YET for each in wanted}
    async with asyncio.TaskGroup() as group:
        for each in wanted:
            group.create_task(_reach(gate, each, life.network), name=f"reach-{each}")


async def _reach(
    gate: Gate, wanted: Reachable, states: dict[str, str], jitter: Callable[[], float] = random.random
) -> None:
    backoff, name = Backoff(jitter), str(wanted)
    while True:
        try:
            await _connect(gate, wanted)
        except (Forbidden, OSError) as failure:
            words = in_words(failure)
            if states[name] != words:  # once, not every three seconds
                logs.warning("startup_address_not_reached", address=name, why=words)
            states[name] = words
            await asyncio.sleep(backoff.pause())
        else:
            states[name] = OK
            logs.info("startup_address_reached", address=name)
            return


async def _connect(gate: Gate, wanted: Reachable) -> None:
    scheme = "https" if wanted.scheme == "https" else "http"
    probe = await gate.connect(Destination(scheme, wanted.host, wanted.port, private_network=True), _Probe)
    probe.leave()


class _Probe(asyncio.Protocol):
    """Connects and says nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def leave(self) -> None:
        self._transport.close()


def in_words(failure: Exception) -> str:
    """Which step failed. Never the system's own text, which holds addresses."""
    match failure:
        case Forbidden():
            return str(failure)
        case TimeoutError():
            return "no answer in time"
        case socket.gaierror():
            return "the name cannot be resolved"
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted"
        case ssl.SSLError():
            return "it does not speak TLS as it should"
        case ConnectionRefusedError():
            return "the connection was refused"
        case _:
            return "no connection"
