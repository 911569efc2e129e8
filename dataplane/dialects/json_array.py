"""The elements of a JSON array as they arrive: what Gemini streams when nobody asked for `alt=sse`."""

from __future__ import annotations

import re

from dataplane.dialects.sent import Form
from dataplane.dialects.sse import MAX_EVENT
from dataplane.dialects.tails import HEAD_BYTES, TAIL_BYTES, Remnant

_MARK = re.compile(rb'["\[\]{}]')
_IN_STRING = re.compile(rb'["\\]')


class JsonArraySplitter:
    """Feed it chunks, get the objects of the top-level array that became complete (or the one top-level object, which
    is how an error comes). Malformed text yields nothing; an element beyond the limit is handed out as a `Remnant`."""

    __slots__ = (
        *("_base", "_buffer", "_depth", "_head", "_in_string", "_limit", "_position", "_skipped", "_start"),
        *("overflowed", "separated"),
    )
    form = Form.ARRAY

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._buffer = bytearray()
        self._position = 0  # everything before it was looked at
        self._start = -1  # of the element under way
        self._depth = 0
        self._base = 0  # depth at which elements stand: 1 inside an array
        self._in_string = False
        self._limit = limit
        self._head = b""  # of an element that is too large to be kept
        self._skipped = 0  # bytes of it that are gone
        self.overflowed = False
        self.separated = True  # an element may follow as it is: nothing or a comma came before

    @property
    def joint(self) -> bytes:
        """Goes before a further element: the bracket where none was seen, a comma behind an element."""
        if not self.separated:
            return b","
        return b"" if self._base else b"["

    @property
    def mid_event(self) -> bool:
        return self._start >= 0

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        elements: list[bytes] = []
        self._scan(elements)
        text = data.rstrip()
        if self._start < 0 and text:
            self.separated = text.endswith((b",", b"["))
        keep = self._start if self._start >= 0 else self._position
        del self._buffer[:keep]
        self._position -= keep
        if self._start >= 0:
            self._start = 0
        size = len(self._buffer)
        if self._start == 0 and (size > self._limit or (self._skipped and size > 2 * TAIL_BYTES)):
            if not self._skipped:
                self._head, self.overflowed = bytes(self._buffer[:HEAD_BYTES]), True
            kept = min(TAIL_BYTES, self._limit)
            self._skipped += size - kept
            del self._buffer[:-kept]
            self._position -= size - kept
        return elements

    def close(self) -> list[bytes]:
        return []

    def unframed(self) -> bytes:
        return b""  # one object is an element already

    def _element(self, start: int, end: int) -> bytes:
        if not self._skipped:
            return bytes(self._buffer[start:end])
        cut = Remnant.of(self._head, bytes(self._buffer[max(end - TAIL_BYTES, 0) : end]), self._skipped + end)
        self._head, self._skipped = b"", 0
        return cut

    def _scan(self, elements: list[bytes]) -> None:
        """Look at every mark in the bytes at hand: any byte may be one. (Local names take a third of the time away.)"""
        buffer, search, search_in_string = self._buffer, _MARK.search, _IN_STRING.search
        at, start, depth, base, in_string = self._position, self._start, self._depth, self._base, self._in_string
        end = len(buffer)
        while True:
            mark = search_in_string(buffer, at) if in_string else search(buffer, at)
            if mark is None:
                at = end
                break
            at = mark.start()
            byte = buffer[at]
            if in_string:
                if byte == 0x5C:  # a backslash hides the byte after it
                    if at + 1 == end:
                        break
                    at += 2
                    continue
                in_string = False
            elif byte == 0x22:
                in_string = True
            elif byte == 0x7B or byte == 0x5B:
                if byte == 0x5B and depth == 0 and base == 0:
                    base = 1
                elif depth == base and start < 0 and byte == 0x7B:
                    start = at
                depth += 1
            else:
                depth -= 1
                if depth == base and start >= 0:
                    elements.append(self._element(start, at + 1))
                    start = -1
            at += 1
        self._position, self._start, self._depth, self._base, self._in_string = at, start, depth, base, in_string
