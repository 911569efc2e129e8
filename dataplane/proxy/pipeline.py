"""The life of one request, top to bottom. The order here is the order in production; no other place decides it.

    authenticate   key → who asks, or Refusal
    read           the dialect scans the body once
    plan           model → provider and its name for the model
    hold           money is set aside at every budget above the key, or Refusal naming the budget
    attempt        admitted in the journal, then sent; what refuses the organization itself is said in our words
    relay          bytes to the client, at its pace; a meter listens, the hold is extended or the stream ends
    settle         cost from the provider's own figures; exactly one record, written before the answer's last byte

A refusal before the answer's head is an HTTP error in the client's dialect; after it, an event in the stream.
"""

from __future__ import annotations

import asyncio

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import registry
from dataplane.proxy import local_answers
from dataplane.proxy.attempt import Attempt
from dataplane.proxy.client.connection import ClientConnection
from dataplane.proxy.client.door import Door
from dataplane.proxy.client.memory import NO_HEAD, HeadMemo
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.framing import ProtocolError
from dataplane.proxy.inquiry import Inquiry
from dataplane.proxy.pod import Pod
from dataplane.proxy.provider.connection import UpstreamFailure
from dataplane.proxy.stages.attempt import attempt
from dataplane.proxy.stages.authenticate import authenticate, find_route
from dataplane.proxy.stages.hold import hold
from dataplane.proxy.stages.plan import plan
from dataplane.proxy.stages.read import read
from dataplane.proxy.stages.relay import relay
from dataplane.proxy.stages.settle import settle
from dataplane.telemetry import logs


async def live(exchange: Exchange, pod: Pod) -> None:
    """Every stage, in its order, and the end of whatever went wrong in one. Never raises."""
    try:
        exchange.started()
        if exchange.path in local_answers.OPEN_PATHS:  # beside the path: nobody's requests
            await local_answers.without_key(exchange, pod)
            return
        route = find_route(exchange, pod)

        # From here on the request is somebody's.
        snapshot, key = await authenticate(exchange, pod)
        if route.operation in local_answers.OF_A_KEY:  # beside the path: no provider is asked
            await local_answers.of_a_key(exchange, snapshot, key, route)
            return

        # Nothing of the body is looked at before its sender is known.
        request = await read(exchange, route, pod.limits)
        inquiry = Inquiry(snapshot, snapshot.view(key.organization_id), key, route, request)

        # limit and judge come here: what a key and its policies allow of what was read

        candidate = plan(exchange, inquiry)
        with Attempt(exchange, inquiry, candidate) as one:
            # Money of every budget above the key is set aside before anything is sent.
            await hold(one)

            # guard comes here: the content passes

            response = await attempt(one)
            if response is not None:
                await relay(one, response)
    except (Refusal, ProtocolError, UpstreamFailure, asyncio.CancelledError) as error:
        exchange.end(error)
    except Exception as error:  # noqa: BLE001  a defect ends one exchange, not the pod
        logs.error("exchange_defect", request_id=exchange.identity.request_id, error=error)
        exchange.end(error)
    finally:
        settle(exchange)


def begin(pod: Pod, door: Door[Exchange], connection: ClientConnection, memo: HeadMemo) -> Exchange:
    """A request's head is complete: its life begins, with those of others in a crowd; probes do not stand in line."""
    exchange = Exchange(pod, connection, memo)
    if memo.path in local_answers.OPEN_PATHS:
        start(pod, exchange)
    else:
        door.enter(exchange)
    return exchange


def start(pod: Pod, exchange: Exchange) -> None:
    # Not `spawn`: the pod holds the exchange and that its task, and `live` raises nothing (6 of 200 µs saved).
    exchange.task = asyncio.get_running_loop().create_task(live(exchange, pod))


def turn_away(pod: Pod, exchange: Exchange) -> None:
    """Instead of `start`: looks at nothing but what shape the refusal must have."""
    try:
        find_route(exchange, pod)
        exchange.refuse(Refusal(Code.OVERLOADED, "this pod has more to do than it can; try again", retry_after=1))
    except Refusal as refusal:
        exchange.refuse(refusal)
    finally:
        settle(exchange)


def reject(pod: Pod, connection: ClientConnection, refusal: Refusal, status: int, path: str) -> None:
    """What never became a request is answered and recorded all the same, in the dialect of its path."""
    exchange = Exchange(pod, connection, NO_HEAD)
    exchange.envelope = registry.envelope(path)
    exchange.refuse(refusal, status=status)
    settle(exchange)
