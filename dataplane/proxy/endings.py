"""What each way out of the pipeline means: for the client, and for the record of the attempt that ran."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from dataplane.core.errors import WORKS_ON, Code, Refusal
from dataplane.core.usage import Outcome
from dataplane.proxy.client.conversation import Waiting, own_patience
from dataplane.proxy.http.framing import ProtocolError
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import UpstreamFailure, UpstreamTimeout


class Ending(NamedTuple):
    """`status`: of the answer, where it is not the one that the refusal's code stands for."""

    refusal: Refusal
    outcome: Outcome
    status: int = 0


# Of a pipeline that was stopped, nobody said why.
STOPPED: Final = Ending(Refusal(Code.DRAINING, "this pod is shutting down"), Outcome.CUT)


def ending_of(error: BaseException | None, interruption: Ending) -> Ending:
    """`error`: what the pipeline raised; `interruption`: why it was stopped, if it was."""
    match error:
        case Refusal():
            return Ending(error, Outcome.REFUSED)
        case ProtocolError():
            refusal = Refusal(Code.BAD_REQUEST, f"the HTTP request is malformed: {error}")
            return Ending(refusal, Outcome.REFUSED, error.status)
        case UpstreamTimeout():
            return Ending(Refusal(Code.UPSTREAM_TIMEOUT, str(error)), Outcome.FAILED)
        case UpstreamFailure():
            return Ending(Refusal(Code.PROVIDER_ERROR, str(error)), Outcome.FAILED)
        case asyncio.CancelledError():
            return interruption
        case _:
            return Ending(Refusal(Code.INTERNAL_ERROR, "the gateway made a mistake"), Outcome.FAILED)


def too_slow(waiting: Waiting, waits: tuple[int, int], limits: Limits) -> Refusal:
    """The provider has the request and may be working on it: asking again would be billed again. `waits`: by
    its own row."""
    own_s = own_patience(waiting, waits)
    if waiting is Waiting.FIRST_BYTE:
        words = f"the provider took too long to answer: nothing came within {own_s or limits.first_byte_s:g} s"
        setting = "AIGATEWAY_FIRST_BYTE_S"
    else:
        words = f"the provider took too long to go on with its answer: nothing came for {own_s or limits.idle_s:g} s"
        setting = "AIGATEWAY_IDLE_S"
    words += "; an admin can change that for the provider and for single models"
    words += "" if own_s else f", the platform team for all ({setting})"
    return Refusal(Code.UPSTREAM_TIMEOUT, words, meta={WORKS_ON: True})


def slow_body(limits: Limits) -> Refusal:
    return Refusal(
        Code.BAD_REQUEST,
        f"the request body took too long: it has to keep coming and to be whole within {limits.body_s:g} s; "
        "the platform team can change that (AIGATEWAY_BODY_S)",
    )
