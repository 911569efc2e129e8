"""Recalls for pods of another fleet server: on PostgreSQL they travel as notifications, like news of commits.

A hint only, like those: what is lost is a recall that nobody answers, and after a moment the ask is decided without.
SQLite serves one machine and one fleet server, whose pods are all its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from django.db import connection

from dataplane.core.money.messages import AccountRef

CHANNEL = "aigateway_recalls"
REFS_AT_A_TIME = 20  # a notification holds 8,000 bytes

Recalled = tuple[str, tuple[AccountRef, ...]]  # which lease session, what it should give back


def send(recalls: Mapping[str, Sequence[AccountRef]]) -> None:
    """To every fleet server. Raises database errors."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for payload in _payloads(recalls):
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


def parse(payload: str) -> Recalled:
    session, refs = json.loads(payload)
    return session, tuple(AccountRef(*ref) for ref in refs)


def _payloads(recalls: Mapping[str, Sequence[AccountRef]]) -> Iterator[str]:
    for session, refs in recalls.items():
        for start in range(0, len(refs), REFS_AT_A_TIME):
            yield json.dumps([session, refs[start : start + REFS_AT_A_TIME]])
