"""The id of the request that is being answered: in its answer's header, in problems, in every line of the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from controlplane.changes.ids import new_id

HEADER = "X-Langwatch-Request-Id"
CLIENTS_HEADER = "X-Request-Id"  # echoed beside ours, never used as ours
ATTRIBUTE = "aigateway_request_id"  # of Django's request
CLIENTS_ID = re.compile(r"[\x21-\x7e]{1,128}")

_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Empty outside of a request."""
    return _current.get()


@contextmanager
def minted() -> Iterator[str]:
    request_id = new_id("call")
    token = _current.set(request_id)
    try:
        yield request_id
    finally:
        _current.reset(token)


class InLogs(logging.Filter):
    """Gives every line `request_id`; a dash outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        about = getattr(record, "request", None)  # Django's last words about a request come after it
        record.request_id = current() or getattr(about, ATTRIBUTE, "") or "-"
        return True
