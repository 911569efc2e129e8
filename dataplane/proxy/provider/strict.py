"""Providers that refuse `stream_options`, learnt from what they say: their chat streams are asked for without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dataplane.proxy.http.codings import coding_of
from dataplane.proxy.provider.refused import BODY_BYTES, BODY_S, Beginning
from dataplane.proxy.provider.response import Response

REMEMBERED_S: Final = 3600.0  # then it is tried again: servers are upgraded
REMEMBERED: Final = 1_000
_REFUSED: Final = frozenset({400, 422})  # by validators: the request was not worked on
_WORD: Final = b"stream_options"


class StrictProviders:
    """By id, for an hour each."""

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def __contains__(self, provider_id: str) -> bool:
        return bool(self._until) and self._until.get(provider_id, 0.0) > self._clock()

    def learn(self, provider_id: str) -> None:
        if len(self._until) >= REMEMBERED:
            self._until.clear()
        self._until[provider_id] = self._clock() + REMEMBERED_S


async def refuses_stream_options(response: Response) -> bool:
    """Whether it is an error about them. Afterwards it is gone; else it is as it was."""
    if response.head.status not in _REFUSED or coding_of(response.head):
        return False
    refuses = _WORD in await Beginning(response, BODY_BYTES, BODY_S).read()
    if refuses:
        response.abort()
    return refuses
