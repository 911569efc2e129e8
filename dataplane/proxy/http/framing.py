"""Where a body ends: the three framings of HTTP/1.1, sans-io. Fed with wire bytes, they give the body in them.

Our own, because the relay must know at which byte a message ends, which httptools does not tell.
"""

from __future__ import annotations

import re

CHUNKED_END = b"0\r\n\r\n"

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})([ \t]*;[\t !-~\x80-\xff]*)?")
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t !-~\x80-\xff]*")


class ProtocolError(Exception):
    """The peer broke the rules; nothing that it sends afterwards may be believed. `status` is what a client gets."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Length:
    """A body of a declared length."""

    __slots__ = ("_left", "done")
    chunked = whole = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = not length

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """The body bytes in `data`, and how many bytes of it belong to this message."""
        if len(data) > self._left:
            data = data[: self._left]
        self._left -= len(data)
        self.done = not self._left
        return data, len(data)


class UntilClose:
    """A response body that ends with its connection."""

    __slots__ = ()
    chunked = whole = done = False

    def feed(self, data: bytes) -> tuple[bytes, int]:
        return data, len(data)


class Chunked:
    """The chunked coding, strict: CRLF only, plain hexadecimal sizes, extensions and trailers bounded and ignored.

    `at_boundary`: between chunks; there, and only there, something may be put in between. `whole`: the last feed was
    whole chunks without extensions, so its wire bytes may be passed on as they are.
    """

    __slots__ = (
        "_extensions",
        "_in_trailers",
        "_left",
        "_pending",
        "_trailers",
        "at_boundary",
        "done",
        "overhead",
        "whole",
    )
    chunked = True

    def __init__(self, *, extension_bytes: int, trailer_bytes: int) -> None:
        self._extensions = extension_bytes
        self._trailers = trailer_bytes
        self._left = 0  # of the current chunk, its CRLF included
        self._pending = b""  # the beginning of a line
        self._in_trailers = False
        self.at_boundary = True
        self.whole = True
        self.done = False
        self.overhead = 0  # wire bytes that were not body

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """As Length.feed. Raises ProtocolError. Nothing may be fed once `done`."""
        self.whole = self.at_boundary
        if self.at_boundary:  # nearly every read of a live stream is one whole chunk (2 of 7 µs saved)
            start, stop = data.find(b"\n", 0, 10) + 1, len(data) - 2
            if stop > start > 0 and data[:start] == b"%x\r\n" % (stop - start) and data.endswith(b"\r\n"):
                self.overhead += start + 2
                return data[start:stop], stop + 2
        before = len(self._pending)
        if before:
            data = self._pending + data
            self._pending = b""
        parts: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._left:
                at = self._take(data, at, parts)
                continue
            if not self._in_trailers:
                at = _whole_chunks(data, at, parts)
                if at == end:
                    break
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                self._keep(data[at:])
                at = end
                break
            self._line(data[at:line_end])
            at = line_end + 2
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.at_boundary = not (self._left or self._pending or self._in_trailers)
        self.whole = self.whole and self.at_boundary
        used = at - before
        self.overhead += used - len(body)
        return body, used

    def _take(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Body bytes of the current chunk, then its CRLF."""
        after = at + self._left
        if after <= len(data):
            if data[max(at, after - 2) : after] != b"\r\n"[-self._left :]:
                raise ProtocolError("a chunk is longer than its size")
            if self._left > 2:
                parts.append(data[at : after - 2])
            self._left = 0
            return after
        piece = data[at : max(at, after - 2)]
        if piece:
            parts.append(piece)
        if len(data) == after - 1 and data[-1:] != b"\r":
            raise ProtocolError("a chunk is longer than its size")
        self._left = after - len(data)
        return len(data)

    def _line(self, line: bytes) -> None:
        if self._in_trailers:
            self._trailer(line)
            return
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError("a chunk size is malformed")
        if match[2] is not None:
            self.whole = False
            if len(match[2]) > self._extensions:
                raise ProtocolError("a chunk extension is too large")
        size = int(match[1], 16)
        if size:
            self._left = size + 2
        else:
            self._in_trailers = True

    def _trailer(self, line: bytes) -> None:
        self._trailers -= len(line) + 2
        if self._trailers < 0:
            raise ProtocolError("trailers are too large", 431)
        if not line:
            self.done = True
        elif _TRAILER_LINE.fullmatch(line) is None:
            raise ProtocolError("a trailer is malformed")

    def _keep(self, rest: bytes) -> None:
        """The beginning of a line, for the next read; bounded, and refused as soon as it cannot become a legal line."""
        if len(rest) > (self._trailers if self._in_trailers else 32 + self._extensions):
            raise ProtocolError("a line between chunks is too long", 431 if self._in_trailers else 400)
        if b"\n" in rest or b"\r" in rest[:-1]:
            raise ProtocolError("a bare CR or LF between chunks")
        self._pending = rest


def _whole_chunks(data: bytes, at: int, parts: list[bytes]) -> int:
    """The usual case, fast: plain chunks that are all there. Where they end; what follows them is not judged here."""
    end = len(data)
    while True:
        size = _PLAIN_SIZE.match(data, at)
        if size is None:
            return at
        start = size.end()
        stop = start + int(size[1], 16)
        if start == stop or stop + 2 > end or not data.startswith(b"\r\n", stop):
            return at
        parts.append(data[start:stop])
        at = stop + 2


Framing = Length | Chunked | UntilClose


def chunk(data: bytes) -> bytes:
    """One chunk; empty data gives nothing, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
