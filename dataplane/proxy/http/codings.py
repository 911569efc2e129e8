"""Content codings, decoded step by step under a cap: what a client compressed, or a provider in spite of `identity`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Final, Protocol

import brotli
import zstandard

from dataplane.core.errors import Code, Refusal
from dataplane.proxy.http.heads import ResponseHead

_STEP = 64 * 1024  # decoded at a time: a bomb is noticed before it has unfolded
_SMALL = 64 * 1024  # below this no ratio is suspicious
# What one read of a provider's may unfold to: so much, and so many times its size. Their text is packed by 5 to 20.
_AT_ONCE: Final = 16 * 1024
_UNFOLDS: Final = 32
# How many objects and lines may be in there: so many, and one for so many bytes. Their events have one for 20.
_DENSE: Final = 4_096
_DENSE_BYTES: Final = 8
_TURN = 256 * 1024  # decoded in one turn of the loop: 1 ms
_PIECES = 64  # of whatever size: a coding can be made of blocks that hold nothing


class TooLarge(Exception):
    """The decoded form passes the cap."""


class Malformed(Exception):
    """The bytes are not what the coding says."""


class _Engine(Protocol):
    def steps(self, data: bytes) -> Iterator[bytes]:
        """The decoded form of `data`, in pieces of bounded size."""
        ...

    @property
    def finished(self) -> bool: ...


class _Zlib:
    """gzip and deflate; `deflate` is zlib by RFC 9110 §8.4.1.2 and raw deflate by the habit of some clients."""

    def __init__(self, window: int) -> None:
        self._zlib = zlib.decompressobj(window)
        self._guess = window == zlib.MAX_WBITS

    def steps(self, data: bytes) -> Iterator[bytes]:
        if self._guess and data:
            self._guess = False
            if data[0] & 0x0F != 8:
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        for at in range(0, len(data), _STEP):  # what is left of a piece is copied at each step
            piece = data[at : at + _STEP]
            while piece:
                if self._zlib.eof:
                    raise Malformed
                yield self._zlib.decompress(piece, _STEP)
                piece = self._zlib.unconsumed_tail or self._zlib.unused_data

    @property
    def finished(self) -> bool:
        return self._zlib.eof


class _Brotli:
    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()

    def steps(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data) or 1, _STEP):
            piece = self._brotli.process(data[at : at + _STEP], output_buffer_limit=_STEP)
            while piece:
                yield piece
                piece = self._brotli.process(b"", output_buffer_limit=_STEP)

    @property
    def finished(self) -> bool:
        return bool(self._brotli.is_finished())


class _Zstandard:
    """The library cannot stop half-way; a short input bounds the output: 4 bytes make at most one block of 128 KiB, so
    that a step has 2 MiB at most: 1 ms."""

    _INPUT = 64

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()

    def steps(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), self._INPUT):
            if self._zstd.eof:
                raise Malformed
            yield self._zstd.decompress(data[at : at + self._INPUT])
        if self._zstd.unused_data:
            raise Malformed

    @property
    def finished(self) -> bool:
        return self._zstd.eof


_ENGINES: dict[bytes, Callable[[], _Engine]] = {
    b"gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    b"x-gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    b"deflate": lambda: _Zlib(zlib.MAX_WBITS),
    b"br": _Brotli,
    b"zstd": _Zstandard,
}


class Decoder:
    """One body in one coding. Raises KeyError for a coding that it does not know."""

    def __init__(self, coding: bytes, cap: int) -> None:
        self._engine = _ENGINES[coding]()
        self._left = cap

    def read(self, data: bytes) -> bytes:
        """As `feed`, of what a provider sends: a bomb, or what is nothing but lines and objects, is TooLarge too."""
        unfolds, pieces = _AT_ONCE + _UNFOLDS * len(data), list[bytes]()
        for piece in self.steps(data):
            pieces.append(piece)
            unfolds -= len(piece)
            if unfolds < 0:
                raise TooLarge
        plain = b"".join(pieces)
        if plain.count(b"{") + plain.count(b"\n") > _DENSE + len(plain) // _DENSE_BYTES:
            raise TooLarge
        return plain

    def feed(self, data: bytes) -> bytes:
        """Decoded bytes. Raises TooLarge or Malformed; nothing may be fed afterwards."""
        return b"".join(self.steps(data))

    def steps(self, data: bytes) -> Iterator[bytes]:
        """The same, piece by piece: few are larger than 128 KiB."""
        try:
            for piece in self._engine.steps(data):
                self._left -= len(piece)
                if self._left < 0:
                    raise TooLarge
                yield piece
        except (zlib.error, brotli.error, zstandard.ZstdError):
            raise Malformed from None

    @property
    def finished(self) -> bool:
        return self._engine.finished


def coding_of(head: ResponseHead) -> bytes:
    """The content coding that a provider chose in spite of `identity`; b"" for none. Several are one that nobody
    knows."""
    if b"content-encoding" not in head.first:
        return b""
    fields = [value for name, value in head.fields if name.lower() == b"content-encoding"]
    codings = [coding for value in fields for part in value.split(b",") if (coding := part.strip().lower())]
    return b", ".join([coding for coding in codings if coding != b"identity"])


def decode_request(
    body: bytes, coding: bytes, *, cap: int, ratio: int, grows: Callable[[int], None]
) -> Generator[None, None, bytes]:
    """Yields after every 256 KB; returns the decoded body. `grows`: it has so many bytes by now; may raise Refusal.

    Raises Refusal: 415 for an unknown or stacked coding, 413 for too much, 400 for garbage.
    """
    coding = coding.strip().lower()
    if coding in (b"", b"identity"):
        return body
    try:
        decoder = Decoder(coding, min(cap, max(len(body) * ratio, _SMALL)))
    except KeyError:
        raise Refusal(
            Code.UNSUPPORTED_ENCODING,
            "send the body as it is or in one of gzip, deflate, br, zstd",
            meta={"accepted": "gzip, deflate, br, zstd"},
        ) from None
    pieces: list[bytes] = []
    size, goal = 0, _TURN
    try:
        for number, piece in enumerate(decoder.steps(body), 1):
            pieces.append(piece)
            size += len(piece)
            if size >= goal or not number % _PIECES:
                goal = size + _TURN
                grows(size)
                yield
    except TooLarge:
        raise Refusal(Code.PAYLOAD_TOO_LARGE, "the decompressed body is too large", meta={"limit_bytes": cap}) from None
    except Malformed:
        raise Refusal(Code.BAD_REQUEST, "the body is not what its Content-Encoding says") from None
    if not decoder.finished:
        raise Refusal(Code.BAD_REQUEST, "the compressed body ends too early")
    grows(size)
    return b"".join(pieces)
