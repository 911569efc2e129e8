"""The beginning of an event stream, taken apart where an event is an error: the rest passes as it came.

An error before any content is the provider's whole answer, as an HTTP error would be. It is known by how it begins, so
that of other events nothing is held back but the first bytes, until they tell, and line ends inside one.
"""

from __future__ import annotations

from typing import Final

from dataplane.dialects.sse import SseSplitter

EVENTS: Final = 4  # Responses tell twice that they have begun, before they fail
EVENT_BYTES: Final = 16 * 1024  # a longer one is no error that anybody has seen

# How one begins, without spaces.
_ERRORS: Final = (
    b"event:error\n",
    b"event:response.failed\n",
    b'data:{"error"',
    b'data:{"type":"error"',
    b'data:{"type":"response.failed"',
)
_LOOK: Final = 64  # bytes of an event, which hold the longest of these
_BEFORE: Final = b"\xef\xbb\xbf\n"  # byte order mark, line ends


class Opening:
    """Sans-io; any chunking gives the same events. Behind the first EVENTS of them, comments not counted, nothing is
    looked at: a burst may bring hundreds in one read."""

    __slots__ = ("_comment", "_held", "_inside", "_left")

    def __init__(self) -> None:
        self._held = b""
        self._left = EVENTS
        self._inside = False  # an event whose beginning has passed
        self._comment = False  # that event is one

    def feed(self, data: bytes, *, last: bool = False) -> tuple[bytes, bytes]:
        """Returns what may pass, and the error event behind it, whole (empty: none so far). Call it again, with
        nothing, for what stands behind that event."""
        data, self._held = self._held + data, b""
        at = 0
        while at < len(data) and self._left:
            end = _end(data, at)
            if not self._inside:
                begins = _beginning(data, at)
                self._comment = begins.startswith(b":")
                if begins.startswith(_ERRORS):
                    whole = end if end >= 0 else len(data)
                    if whole - at <= EVENT_BYTES:
                        if end < 0 and not last:
                            return self._keep(data, at), b""
                        self._held = data[whole:]
                        return data[:at], data[at:whole]
                elif end < 0 and not last and len(data) - at < _LOOK and _may_become_one(begins):
                    return self._keep(data, at), b""
            self._inside = end < 0
            if end < 0:
                return self._keep(data, len(data) if last else len(data) - _line_ends(data)), b""
            self._left -= not self._comment
            at = end
        return data, b""

    def rest(self) -> bytes:
        """Gives out what was held back."""
        held, self._held = self._held, b""
        return held

    def _keep(self, data: bytes, start: int) -> bytes:
        self._held = data[start:]
        return data[:start]


def payload(event: bytes) -> bytes:
    """The data of one event."""
    splitter = SseSplitter()
    return b"".join((*splitter.feed(event), *splitter.close()))


def begins_as_error(event: bytes) -> bool:
    """By as much of an event as there is."""
    return _beginning(event, 0).startswith(_ERRORS)


def end_of_event(data: bytes, at: int) -> int:
    """Behind the blank line that ends the event at `at`; -1: it is not there yet."""
    return _end(data, at)


def _beginning(data: bytes, at: int) -> bytes:
    return data[at : at + _LOOK].replace(b" ", b"").replace(b"\r", b"\n").lstrip(_BEFORE)


def _line_ends(data: bytes) -> int:
    """How many bytes at its end may be the beginning of a blank line, and not the whole of it."""
    tail = data[-3:]
    return len(tail) - len(tail.rstrip(b"\r\n"))


def _may_become_one(begins: bytes) -> bool:
    return any(error.startswith(begins) for error in _ERRORS)


def _end(data: bytes, at: int) -> int:
    plain = data.find(b"\n\n", at)
    windows = data.find(b"\r\n\r\n", at, plain if plain >= 0 else len(data))
    if windows >= 0:
        return windows + 4
    return plain + 2 if plain >= 0 else -1
