"""Server-sent events out of bytes in any chunking (WHATWG HTML §9.2.6), for looking on only: nothing is ever re-framed.

Only the joined `data` of an event is handed out; comments, names, ids and retry times are nobody's business here.
One leniency: `close` also hands out a last event that lacks its blank line.
"""

from __future__ import annotations

import re

from dataplane.dialects.sent import Form
from dataplane.dialects.tails import HEAD_BYTES, TAIL_BYTES, Remnant

MAX_EVENT = 16 * 1024 * 1024
_MOST_LINES = 4_096  # of one event, which have three: 1 ms
_BOM = b"\xef\xbb\xbf"
BLANK = _BOM + b" \t\r\n"
_NO_LINE_FEED = re.compile(rb"[^\n]")


class SseSplitter:
    """Feed it chunks, get the payloads of the events that became complete; of one beyond the limit, a `Remnant`.
    `overflowed`: there was such a one."""

    __slots__ = ("_after_cr", "_at_start", "_head", "_limit", "_pending", "_skipped", "overflowed")
    form = Form.EVENTS
    joint = b""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._pending = bytearray()
        self._after_cr = False
        self._at_start = True
        self._limit = limit
        self._head = b""  # of an event that is too large to be kept
        self._skipped = 0  # bytes of it that are gone
        self.overflowed = False

    @property
    def mid_event(self) -> bool:
        return _NO_LINE_FEED.search(self._pending) is not None

    def feed(self, data: bytes) -> list[bytes]:
        if self._after_cr or b"\r" in data:
            if data.startswith(b"data: ") and data.endswith(b"\r\n\r\n") and not (self._after_cr or self._at_start):
                # nearly every read of Gemini's: one whole event
                end = len(data) - 4
                if data.find(b"\r", 6) == end and data.find(b"\n", 6) == end + 1 and not self._pending:
                    return [data[6:end]]
            data = self._with_line_feeds(data)
        if self._skipped:
            return self._skipping(data)
        pending = self._pending
        if not pending and not self._at_start:
            # nearly every read of a live stream: one whole event
            start = data.find(b"\n") + 7 if data.startswith(b"event: ") else 6
            end = len(data) - 2
            if data.find(b"\n", start) == end and data.startswith(b"data: ", start - 6) and data.endswith(b"\n"):
                return [data[start:end]]
        if pending:
            # a blank line may begin with the last byte that we had
            start = len(pending) - 1
            pending += data
            cut = pending.rfind(b"\n\n", start)
            if cut < 0:
                self._bound()
                return []
            whole = bytes(pending[:cut])
            del pending[: cut + 2]
        else:
            cut = data.rfind(b"\n\n")
            if cut < 0:
                pending += data
                self._bound()
                return []
            whole = data[:cut]
            if cut + 2 < len(data):
                pending += data[cut + 2 :]
        self._bound()
        return self._payloads(whole)

    def close(self) -> list[bytes]:
        if self._skipped:
            return [self._cut(len(self._pending))]
        whole = bytes(self._pending)
        self._pending.clear()
        return self._payloads(whole) if whole else []

    def unframed(self) -> bytes:
        """A JSON object that came instead of events."""
        return bytes(self._pending) if self._pending[:256].lstrip(BLANK).startswith(b"{") else b""

    def _skipping(self, data: bytes) -> list[bytes]:
        """More of an event of which only the end is kept."""
        pending = self._pending
        start = max(len(pending) - 1, 0)
        pending += data
        end = pending.find(b"\n\n", start)
        if end < 0:
            self._bound()
            return []
        cut, rest = self._cut(end), bytes(pending[end + 2 :])
        pending.clear()
        return [cut, *self.feed(rest)] if rest else [cut]

    def _cut(self, end: int) -> Remnant:
        cut = Remnant.of(self._head, bytes(self._pending[max(end - TAIL_BYTES, 0) : end]), self._skipped + end)
        self._head, self._skipped = b"", 0
        return cut

    def _payloads(self, whole: bytes) -> list[bytes]:
        if self._at_start:
            self._at_start = False
            whole = whole.removeprefix(_BOM)
        if whole.startswith(b"data: "):  # nearly all that comes in bursts: events of one such line each
            payloads = whole[6:].split(b"\n\ndata: ")
            if b"\n" not in b"".join(payloads):
                return payloads
        payloads = []
        for block in whole.split(b"\n\n"):
            if block.startswith(b"data: ") and b"\n" not in block:
                payloads.append(block[6:])
                continue
            if block.startswith(b"event: "):
                end = block.find(b"\n")
                if end > 0 and block.startswith(b"data: ", end + 1) and block.find(b"\n", end + 7) < 0:
                    payloads.append(block[end + 7 :])
                    continue
            payload = _payload(block)
            if payload is not None:
                payloads.append(payload)
        return payloads

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            if not data:
                self._after_cr = False
                return data
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _bound(self) -> None:
        size = len(self._pending)
        if size > self._limit or (self._skipped and size > 2 * TAIL_BYTES):
            if not self._skipped:
                self._head, self.overflowed = bytes(self._pending[:HEAD_BYTES]), True
            kept = min(TAIL_BYTES, self._limit)
            self._skipped += size - kept
            del self._pending[:-kept]


def _payload(block: bytes) -> bytes | None:
    if block.count(b"\n") > _MOST_LINES:
        return None
    lines = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines) if lines else None
