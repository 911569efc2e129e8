"""The elements of a JSON array as they arrive: what Gemini streams when nobody asked for `alt=sse`."""

from __future__ import annotations

import re

from dataplane.dialects.sent import Form
from dataplane.dialects.sse import MAX_EVENT

_MARK = re.compile(rb'["\[\]{}]')
_IN_STRING = re.compile(rb'["\\]')


class JsonArraySplitter:
    """Feed it chunks, get the objects of the top-level array that became complete (or the one top-level object, which
    is how an error comes). Malformed text yields nothing; beyond the limit it is inert."""

    __slots__ = ("_base", "_buffer", "_depth", "_in_string", "_limit", "_position", "_start", "overflowed", "separated")
    form = Form.ARRAY

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._buffer = bytearray()
        self._position = 0  # everything before it was looked at
        self._start = -1  # of the element under way
        self._depth = 0
        self._base = 0  # depth at which elements stand: 1 inside an array
        self._in_string = False
        self._limit = limit
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
        if self.overflowed:
            return []
        self._buffer += data
        elements: list[bytes] = []
        while self._step(elements):
            pass
        text = data.rstrip()
        if self._start < 0 and text:
            self.separated = text.endswith((b",", b"["))
        keep = self._start if self._start >= 0 else self._position
        del self._buffer[:keep]
        self._position -= keep
        if self._start >= 0:
            self._start = 0
        if len(self._buffer) > self._limit:
            self._buffer.clear()
            self.overflowed = True
        return elements

    def close(self) -> list[bytes]:
        return []

    def _step(self, elements: list[bytes]) -> bool:
        """Look at one mark; False when the bytes at hand are used up."""
        buffer = self._buffer
        mark = (_IN_STRING if self._in_string else _MARK).search(buffer, self._position)
        if mark is None:
            self._position = len(buffer)
            return False
        at = mark.start()
        byte = buffer[at]
        if self._in_string:
            if byte == 0x5C:  # a backslash hides the byte after it
                if at + 1 == len(buffer):
                    self._position = at
                    return False
                self._position = at + 2
                return True
            self._in_string = False
        elif byte == 0x22:
            self._in_string = True
        elif byte in b"[{":
            if byte == 0x5B and self._depth == 0 and self._base == 0:
                self._base = 1
            elif self._depth == self._base and self._start < 0 and byte == 0x7B:
                self._start = at
            self._depth += 1
        else:
            self._depth -= 1
            if self._depth == self._base and self._start >= 0:
                elements.append(bytes(buffer[self._start : at + 1]))
                self._start = -1
        self._position = at + 1
        return True
