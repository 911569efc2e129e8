"""A provider that refuses the organization itself: looked for within bounds, said in our words, recorded in its own.

Of an error's body no more than BODY_BYTES are waited for, nor longer than BODY_S; of a stream, no more than its
opening.
What is not about the account goes to the client as if nobody had looked.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from dataplane.core.errors import Refusal
from dataplane.core.refusals import credential_refused
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import OrganizationView
from dataplane.dialects.dialect import DialectName
from dataplane.dialects.failures import SUSPECT, Verdict, judge
from dataplane.dialects.opening import payload
from dataplane.providers.hygiene import without_credential
from dataplane.proxy.http.codings import Decoder, Malformed, TooLarge, coding_of
from dataplane.proxy.provider.connection import Response, UpstreamFailure
from dataplane.telemetry.redaction import redact

__all__ = ["SUSPECT", "AccountErrors", "Beginning", "Refused", "refused_by"]

BODY_BYTES: Final = 64 * 1024
BODY_S = 2.0
_UNPACKED_BYTES: Final = 128 * 1024


class Refused(NamedTuple):
    """`words`: the provider's, with nothing in them that resembles the credential."""

    refusal: Refusal
    words: str


class AccountErrors:
    """Knows whose account an attempt uses, and who can mend it."""

    __slots__ = ("_candidate", "_dialect", "_view")

    def __init__(self, dialect: DialectName, candidate: Candidate, view: OrganizationView) -> None:
        self._dialect = dialect
        self._candidate = candidate
        self._view = view

    def body(self, status: int, body: bytes) -> Refused | None:
        """Of an answer that is an error. None: it is not about the account."""
        provider = self._candidate.provider
        failure = judge(self._dialect, status, body, self._candidate.model)
        if failure.verdict is Verdict.OTHER:
            return None
        unpaid = failure.verdict is Verdict.PAYMENT
        words = redact(without_credential(failure.words, provider.credential.reveal()).encode()).decode()
        reason = ": ".join(part for part in (str(failure.status or ""), words) if part)
        return Refused(credential_refused(self._view, provider, unpaid=unpaid), reason or "no reason given")

    def event(self, event: bytes) -> Refused | None:
        """Of a stream whose status was fine."""
        return self.body(0, payload(event))


async def refused_by(errors: AccountErrors, response: Response) -> Refused | None:
    """Whether an error of a suspect status is about the account. Afterwards it is gone; else it is as it was."""
    body = await Beginning(response, BODY_BYTES, BODY_S).read()
    coding = coding_of(response.head)
    refused = errors.body(response.head.status, _unpacked(body, coding) if coding else body)
    if refused is not None:
        response.abort()
    return refused


class Beginning:
    """A sink that takes the first part of a body and puts it back. `whole`: that was all."""

    def __init__(self, response: Response, most_bytes: int, patience_s: float) -> None:
        self.whole = False
        self._response = response
        self._most_bytes = most_bytes
        self._patience_s = patience_s
        self._pieces: list[tuple[bytes, bytes, bool]] = []
        self._size = 0
        self._enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def read(self) -> bytes:
        self._response.relay_to(self)
        patience = asyncio.get_running_loop().call_later(self._patience_s, self._has_enough)
        try:
            await self._enough
        except asyncio.CancelledError:
            self._response.abort()
            raise
        finally:
            patience.cancel()
        self._response.put_back(self._pieces)
        return b"".join([body for _, body, _ in self._pieces])

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        self._pieces.append((wire, body, done))
        self._size += len(body)
        self.whole = done
        if done or self._size >= self._most_bytes:
            self._response.pause()
            self._has_enough()

    def broken(self, failure: UpstreamFailure) -> None:
        self._has_enough()

    def _has_enough(self) -> None:
        if not self._enough.done():
            self._enough.set_result(None)


def _unpacked(body: bytes, coding: bytes) -> bytes:
    try:
        return Decoder(coding, _UNPACKED_BYTES).read(body)
    except (KeyError, TooLarge, Malformed):
        return b""
