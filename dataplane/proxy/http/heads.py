"""The heads of HTTP/1.1, sans-io: found, parsed and encoded. Used by both sides of the proxy.

llhttp (through httptools) parses them, one parser per message, so that it never sees what follows. Where the grammar
leaves room we take the strict reading and answer 400 (RFC 9112 §6.3, §2.2, §5.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NoReturn

import httptools

from dataplane.proxy.http.framing import Chunked, Framing, Length, ProtocolError, UntilClose

Field = tuple[bytes, bytes]

END_OF_HEAD = b"\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_BEGINNING = 2048
_ASKED = re.compile(rb"[A-Z]{1,20} (/[!->@-~]*)")
_REQUEST_LINE = re.compile(rb"[A-Z]{1,20} (/[!-~]*) HTTP/1\.[01]\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9]\d\d[ \r]")
# A reg-name, an IPv4 address or a bracketed IPv6 address, and a port: nothing that another parser could read as a path.
# Of a response: as nearly all servers write it, one space behind the colon and none at the end.
_USUAL_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
_DIGITS = re.compile(rb"\d{1,18}")

_USUAL_STATUS = {b"HTTP/1.1 %d %b" % (s, s.phrase.encode()): int(s) for s in HTTPStatus if s >= 200}
_STATUS_LINES = {int(status): b"HTTP/1.1 %d %b" % (status, status.phrase.encode()) for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class HeadBounds:
    """What a head may cost: bytes, number of fields, bytes of the request target."""

    bytes: int
    fields: int
    target: int = 0


class HeadBuffer:
    """Collects bytes up to the empty line that ends a head; linear in what comes, however it is cut, and however many
    heads come in one read."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def __bool__(self) -> bool:
        """Has a head begun?"""
        return bool(self._buffer)

    @property
    def beginning(self) -> bytes:
        """Of a head that is not complete; whatever is wrong with it."""
        return bytes(self._buffer[:_BEGINNING])

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """When it is complete: the head, and what came behind it. Raises ProtocolError."""
        parts = self.take(data, 0)
        return None if parts is None else (parts[0], data[parts[1] :])

    def take(self, data: bytes, at: int) -> tuple[bytes, int] | None:
        """Of what stands in `data` from `at` on: the head, once it is complete, and where it ends. Raises
        ProtocolError."""
        if not self._buffer:
            end = data.find(END_OF_HEAD, at) + 4
            if end > 3:
                return data[at:end], end
        before = len(self._buffer)
        scan_from = max(0, before - 3)
        self._buffer += data[at:] if at else data
        end = self._buffer.find(END_OF_HEAD, scan_from) + 4
        if end > 3:
            head = bytes(self._buffer[:end])
            self._buffer = bytearray()
            return head, at + end - before
        if len(self._buffer) > self._limit:
            _refuse("the head is too large", 431)
        if self._buffer.find(b"\n\n", scan_from) >= 0:
            _refuse("a bare LF in the head")  # or we would wait for an end that its sender believes to have sent
        return None


class Head:
    """A parsed head: the fields in their order and spelling, and the first value of each by lower-case name."""

    __slots__ = ("fields", "first", "http10", "keep_alive")

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.first: dict[bytes, bytes] = {}
        self.http10 = False
        self.keep_alive = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        self.fields.append((name, value))
        self.first.setdefault(name.lower(), value)

    def get(self, name: bytes, default: bytes = b"") -> bytes:
        """The first value of a field, by lower-case name."""
        return self.first.get(name, default)

    def strip(self) -> None:
        """Take off the white space behind values, which llhttp leaves."""
        self.fields = [(name, value.rstrip(b" \t")) for name, value in self.fields]
        self.first = {name: value.rstrip(b" \t") for name, value in self.first.items()}

    def count(self, name: bytes) -> int:
        return sum(1 for other, _ in self.fields if other.lower() == name)

    def _once(self, *names: bytes) -> None:
        if len(self.first) != len(self.fields):
            for name in names:
                if name in self.first and self.count(name) > 1:
                    _refuse(f"more than one {name.decode()} field")

    def _connection(self) -> None:
        options = self.first.get(b"connection")
        tokens = () if options is None else [token.strip() for token in options.lower().split(b",")]
        self.keep_alive = b"keep-alive" in tokens if self.http10 else b"close" not in tokens


class RequestHead(Head):
    """The head of a request that kept the rules."""

    __slots__ = ("method", "target")

    def __init__(self) -> None:
        super().__init__()
        self.method = ""
        self.target = b""

    @property
    def expects_continue(self) -> bool:
        return b"expect" in self.first

    @property
    def chunked(self) -> bool:
        return b"transfer-encoding" in self.first


class ResponseHead(Head):
    """The head of a response that kept the rules."""

    __slots__ = ("status",)

    def __init__(self) -> None:
        super().__init__()
        self.status = 0

    def framing(self, method: str, *, extension_bytes: int, trailer_bytes: int) -> Framing:
        """RFC 9112 §6.3, in its order."""
        if method == "HEAD" or self.status in (204, 304):
            return Length(0)
        if b"transfer-encoding" in self.first:
            return Chunked(extension_bytes=extension_bytes, trailer_bytes=trailer_bytes)
        length = self.first.get(b"content-length")
        return UntilClose() if length is None else Length(int(length))


def parse_request(head: bytes, bounds: HeadBounds) -> RequestHead:
    """`head` ends with its empty line. Raises ProtocolError for what two parsers could understand differently."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        _refuse("the request line is malformed")
    target = line[1]
    if len(target) > bounds.target:
        _refuse("the request target is too long", 414)
    if b"#" in target or b"\\" in target:
        _refuse("the request target is malformed")
    request = RequestHead()
    parser = httptools.HttpRequestParser(request)
    _parse(parser, head, bounds, request)
    request.method = parser.get_method().decode()
    request.target = target
    request.http10 = parser.get_http_version() == "1.0"
    request._once(b"host", b"content-length", b"transfer-encoding", b"expect", b"content-encoding", b"content-type")
    host = request.first.get(b"host")
    if host is None:
        if not request.http10:
            _refuse("the Host field is missing")
    elif _HOST.fullmatch(host) is None:
        _refuse("the Host field is malformed")
    _check_framing(request)
    if request.expects_continue and request.get(b"expect").lower() != b"100-continue":
        _refuse("the expectation is unknown", 417)
    request._connection()
    return request


def asked_path(head: bytes) -> str:
    """The path in the first line of what is no good head: only for the shape of its refusal. "/": it shows none."""
    line = _ASKED.match(head[:_BEGINNING])
    return line[1].decode("latin-1") if line is not None else "/"


def parse_response(head: bytes, bounds: HeadBounds) -> ResponseHead:
    """As parse_request, for what a provider answers."""
    if _STATUS_LINE.match(head) is None:
        _refuse("the status line is malformed")
    response = ResponseHead()
    parser = httptools.HttpResponseParser(response)
    _parse(parser, head, bounds, response)
    response.status = parser.get_status_code()
    response.http10 = parser.get_http_version() == "1.0"
    response._once(b"content-length", b"transfer-encoding")
    _check_framing(response)
    response._connection()
    return response


class ResponseReader:
    """Reads the heads of one connection's responses: lines that the last one had too are not judged again.

    Only for heads in their usual spelling, a subset of what `parse_response` accepts and reads alike; it judges every
    other one. 20 lines of a provider take 4 µs instead of 20.
    """

    __slots__ = ("_bounds", "_lines")

    def __init__(self, bounds: HeadBounds) -> None:
        self._bounds = bounds
        self._lines: dict[bytes, tuple[bytes, Field]] = {}  # line → lower-case name, field

    def read(self, block: bytes) -> ResponseHead:
        """Raises ProtocolError."""
        lines = block.split(b"\r\n")
        status = _USUAL_STATUS.get(lines[0])
        if status is None or len(block) > self._bounds.bytes or len(lines) - 3 > self._bounds.fields:
            return parse_response(block, self._bounds)
        del lines[0], lines[-2:]
        remembered = self._lines
        head = ResponseHead()
        head.status = status
        fields, first = head.fields, head.first
        new = {}
        for line in lines:
            read = remembered.get(line)
            if read is None:
                usual = _USUAL_LINE.fullmatch(line)
                if usual is None:
                    return parse_response(block, self._bounds)
                name = usual[1]
                read = new[line] = (name.lower(), (name, usual[2]))
            name, field = read
            fields.append(field)
            if name in first and name in _FRAMING:
                return parse_response(block, self._bounds)
            first.setdefault(name, field[1])
        if new:
            self._lines = {line: remembered.get(line) or new[line] for line in lines}
        _check_framing(head)
        if b"connection" in first:
            head._connection()
        return head


def _parse(
    parser: httptools.HttpRequestParser | httptools.HttpResponseParser, head: bytes, bounds: HeadBounds, into: Head
) -> None:
    if len(head) > bounds.bytes:
        _refuse("the head is too large", 431)
    if head.count(b"\n") > bounds.fields + 2:
        _refuse("the head has too many fields", 431)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # ours to ignore: no upgrade is served
    except httptools.HttpParserError as error:
        raise ProtocolError(f"the head is malformed: {error}") from None
    if b" \r\n" in head or b"\t\r\n" in head:
        into.strip()


def _check_framing(head: Head) -> None:
    length = head.first.get(b"content-length")
    if length is not None and _DIGITS.fullmatch(length) is None:
        _refuse("the Content-Length is malformed")
    coding = head.first.get(b"transfer-encoding")
    if coding is None:
        return
    if length is not None:
        _refuse("Content-Length beside Transfer-Encoding")
    if head.http10 or coding.lower() != b"chunked":
        _refuse("the Transfer-Encoding is not just chunked")


def _refuse(message: str, status: int = 400) -> NoReturn:
    raise ProtocolError(message, status)


def encode_response(status: int, fields: Iterable[Field], own: bytes = b"") -> bytes:
    """The head of a response; `own`: further lines, of `lines`. Raises ValueError when a field could end a line."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status
    return _lines([line, *map(b": ".join, fields)]) + own + b"\r\n"


def encode_request(method: bytes, target: bytes, fields: Iterable[Field]) -> bytes:
    """The head of a request. Raises ValueError when a field, the method or the target could end a line or a word."""
    return open_request(method, target, fields) + b"\r\n"


def open_request(method: bytes, target: bytes, fields: Iterable[Field]) -> bytes:
    """The same, to which lines may be added."""
    line = b"%b %b HTTP/1.1" % (method, target)
    if line.count(b" ") != 2:
        raise ValueError("a space in the request line")
    return _lines([line, *map(b": ".join, fields)])


def lines(fields: Iterable[Field]) -> bytes:
    """Some fields of a head. Raises ValueError when one could end a line."""
    return _lines([*map(b": ".join, fields)])


def _lines(each: list[bytes]) -> bytes:
    """The one place where lines are made: CR, LF and NUL cannot pass."""
    text = b"\r\n".join(each) + b"\r\n"
    breaks = len(each)
    if text.count(b"\n") != breaks or text.count(b"\r") != breaks or b"\x00" in text:
        raise ValueError("a line break or NUL in a header")
    return text


@lru_cache(maxsize=4)
def date(second: int) -> Field:
    """Unix time as HTTP writes it (RFC 9110 §5.6.7)."""
    return b"Date", formatdate(second, usegmt=True).encode()


def without(fields: Sequence[Field], names: frozenset[bytes]) -> list[Field]:
    """The fields whose lower-case name is not in `names`."""
    return [field for field in fields if field[0].lower() not in names]
