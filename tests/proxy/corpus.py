"""Raw requests that parsers have disagreed about, and what we say to each.

Every body is `{}` once its framing is off, so that an accepted request gets as far as "the request names no model".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.proxy.stage import TOKEN

READ = "read"  # framing accepted, the body was `{}`
AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()
LINE = b"POST /v1/messages HTTP/1.1\r\n"
HOST = b"Host: gateway.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EMPTY = b"2\r\n{}\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Case:
    name: str
    raw: bytes
    verdict: int | str


def request(fields: bytes = b"", body: bytes = b"{}", *, line: bytes = LINE, host: bytes = HOST) -> bytes:
    return line + host + AUTH + fields + b"\r\n" + body


def length(value: bytes, body: bytes = b"{}", **how: bytes) -> bytes:
    return request(b"Content-Length: " + value + b"\r\n", body, **how)


def chunked(body: bytes, fields: bytes = CHUNKED) -> bytes:
    return request(fields, body)


def _lengths() -> Iterator[Case]:
    yield Case("plain length", length(b"2"), READ)
    yield Case("length with leading zeros", length(b"0002"), READ)
    yield Case("length with spaces around", request(b"Content-Length:   2  \r\n"), READ)
    yield Case("length with a tab before", request(b"Content-Length:\t2\r\n"), READ)
    yield Case("length in capitals", request(b"CONTENT-LENGTH: 2\r\n"), READ)
    for name, value in {
        "plus": b"+2",
        "minus": b"-2",
        "minus zero": b"-0",
        "hexadecimal": b"0x2",
        "octal mark": b"0o2",
        "underscore": b"1_0",
        "decimal point": b"2.0",
        "exponent": b"2e0",
        "empty": b"",
        "blank": b" ",
        "word": b"two",
        "list": b"2, 2",
        "list of different": b"2, 3",
        "list with blank": b"2,",
        "space inside": b"2 2",
        "quoted": b'"2"',
        "trailing letter": b"2a",
        "arabic digit": "\u0662".encode(),
        "vertical tab": b"\x0b2",
        "form feed": b"2\x0c",
        "NUL": b"2\x00",
        "overflow of 64 bits": b"18446744073709551618",
        "a thousand digits": b"9" * 1000,
        "semicolon": b"2;",
        "infinity": b"inf",
    }.items():
        yield Case(f"length: {name}", length(value), 400)
    yield Case("length twice, equal", request(b"Content-Length: 2\r\nContent-Length: 2\r\n"), 400)
    yield Case("length twice, different", request(b"Content-Length: 2\r\nContent-Length: 3\r\n"), 400)
    yield Case("length twice, in two casings", request(b"Content-Length: 2\r\ncontent-length: 2\r\n"), 400)
    yield Case("length three times", request(b"Content-Length: 2\r\n" * 3), 400)


def _codings() -> Iterator[Case]:
    yield Case("chunked", chunked(EMPTY), READ)
    yield Case("chunked in capitals", chunked(EMPTY, b"TRANSFER-ENCODING: CHUNKED\r\n"), READ)
    yield Case("chunked with spaces", chunked(EMPTY, b"Transfer-Encoding:  chunked \r\n"), READ)
    both = {
        "length before chunked": b"Content-Length: 2\r\n" + CHUNKED,
        "chunked before length": CHUNKED + b"Content-Length: 2\r\n",
        "chunked and length zero": CHUNKED + b"Content-Length: 0\r\n",
        "chunked twice": CHUNKED + CHUNKED,
        "identity and chunked in two fields": b"Transfer-Encoding: identity\r\n" + CHUNKED,
        "chunked and gzip in two fields": CHUNKED + b"Transfer-Encoding: gzip\r\n",
    }
    for name, fields in both.items():
        yield Case(name, chunked(EMPTY, fields), 400)
    for name, value in {
        "identity": b"identity",
        "gzip": b"gzip",
        "gzip, chunked": b"gzip, chunked",
        "chunked, gzip": b"chunked, gzip",
        "chunked, chunked": b"chunked, chunked",
        "chunked, identity": b"chunked, identity",
        "chunked with a parameter": b"chunked;q=1",
        "xchunked": b"xchunked",
        "chunkedx": b"chunkedx",
        "quoted": b'"chunked"',
        "single quoted": b"'chunked'",
        "empty": b"",
        "comma": b",chunked",
        "trailing comma": b"chunked,",
        "vertical tab before": b"\x0bchunked",
        "NUL before": b"\x00chunked",
        "NUL after": b"chunked\x00",
        "form feed after": b"chunked\x0c",
        "dotless i": "chunk\u0131ed".encode(),
        "Kelvin sign": "chun\u212aed".encode(),
        "no-break space": b"chunked\xa0",
        "carriage return after": b"chunked\r",
        "line feed before": b"\nchunked",
        "folded": b"\r\n chunked",
    }.items():
        yield Case(f"coding: {name}", chunked(EMPTY, b"Transfer-Encoding: " + value + b"\r\n"), 400)
    yield Case("space before the colon", chunked(EMPTY, b"Transfer-Encoding : chunked\r\n"), 400)
    yield Case("tab before the colon", chunked(EMPTY, b"Transfer-Encoding\t: chunked\r\n"), 400)
    yield Case("space before the name", chunked(EMPTY, b" Transfer-Encoding: chunked\r\n"), 400)
    yield Case("NUL in the name", chunked(EMPTY, b"Transfer\x00-Encoding: chunked\r\n"), 400)
    yield Case("chunked under HTTP/1.0", LINE.replace(b"1.1", b"1.0") + HOST + AUTH + CHUNKED + b"\r\n" + EMPTY, 400)


def _chunks() -> Iterator[Case]:
    good = {
        "two chunks": b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        "leading zeros": b"0002\r\n{}\r\n0\r\n\r\n",
        "several zeros at the end": b"2\r\n{}\r\n000\r\n\r\n",
        "extension": b"2;name=value\r\n{}\r\n0\r\n\r\n",
        "extension on the last": b"2\r\n{}\r\n0;last\r\n\r\n",
        "trailer": b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
        "two trailers": b"2\r\n{}\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
    }
    for name, body in good.items():
        yield Case(f"chunks: {name}", chunked(body), READ)
    for name, body in {
        "upper case size": b"A\r\n{}        \r\n0\r\n\r\n",
        "lower case size": b"a\r\n{}        \r\n0\r\n\r\n",
    }.items():
        yield Case(f"chunks: {name}", chunked(body), READ)
    for name, body in {
        "size with a plus": b"+2\r\n{}\r\n0\r\n\r\n",
        "size with a minus": b"-2\r\n{}\r\n0\r\n\r\n",
        "size with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
        "size with an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
        "size with a letter": b"2g\r\n{}\r\n0\r\n\r\n",
        "size with a space before": b" 2\r\n{}\r\n0\r\n\r\n",
        "size with a tab before": b"\t2\r\n{}\r\n0\r\n\r\n",
        "size with a space after": b"2 \r\n{}\r\n0\r\n\r\n",
        "size with a NUL": b"2\x00\r\n{}\r\n0\r\n\r\n",
        "no size": b"\r\n{}\r\n0\r\n\r\n",
        "no size but an extension": b";a\r\n{}\r\n0\r\n\r\n",
        "size beyond 32 bits": b"100000002\r\n{}\r\n0\r\n\r\n",
        "size beyond 64 bits": b"10000000000000002\r\n{}\r\n0\r\n\r\n",
        "bare LF after the size": b"2\n{}\r\n0\r\n\r\n",
        "bare CR after the size": b"2\r{}\r\n0\r\n\r\n",
        "bare LF after the data": b"2\r\n{}\n0\r\n\r\n",
        "any two bytes after the data": b"2\r\n{}XX0\r\n\r\n",
        "CR and something after the data": b"2\r\n{}\rX0\r\n\r\n",
        "LF CR after the data": b"2\r\n{}\n\r0\r\n\r\n",
        "no line break after the data": b"2\r\n{}0\r\n\r\n",
        "data longer than its size": b"2\r\n{}}\r\n0\r\n\r\n",
        "bare LF at the end": b"2\r\n{}\r\n0\n\n",
        "bare LF in the last line": b"2\r\n{}\r\n0\r\n\n",
        "LF in an extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
        "CR in an extension": b"2;a\rb\r\n{}\r\n0\r\n\r\n",
        "NUL in an extension": b"2;a\x00b\r\n{}\r\n0\r\n\r\n",
        "extension without a semicolon": b"2 a=b\r\n{}\r\n0\r\n\r\n",
        "extension that is too large": b"2;" + b"a" * 1000 + b"\r\n{}\r\n0\r\n\r\n",
        "extension of a megabyte": b"2;" + b"a" * 100_000,
        "trailer without a colon": b"2\r\n{}\r\n0\r\nX-Sum\r\n\r\n",
        "trailer with a space before the colon": b"2\r\n{}\r\n0\r\nX-Sum : 1\r\n\r\n",
        "trailer that is folded": b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n",
        "trailer with a NUL": b"2\r\n{}\r\n0\r\nX-Sum: \x00\r\n\r\n",
        "trailer with a bare LF": b"2\r\n{}\r\n0\r\nX: 1\nY: 2\r\n\r\n",
        "trailer without a name": b"2\r\n{}\r\n0\r\n: 1\r\n\r\n",
        "a request line for a trailer": b"2\r\n{}\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    }.items():
        yield Case(f"chunks: {name}", chunked(body), 400)
    yield Case("chunks: too many trailers", chunked(b"2\r\n{}\r\n0\r\n" + b"X-Trailer: 1\r\n" * 1000 + b"\r\n"), 431)
    yield Case("chunks: a trailer that is too large", chunked(b"2\r\n{}\r\n0\r\nX: " + b"a" * 10_000), 431)


def _lines() -> Iterator[Case]:
    for name, line in {
        "bare LF": b"POST /v1/messages HTTP/1.1\n",
        "bare CR": b"POST /v1/messages HTTP/1.1\rX",
        "two spaces": b"POST  /v1/messages HTTP/1.1\r\n",
        "two spaces before the version": b"POST /v1/messages  HTTP/1.1\r\n",
        "space at the end": b"POST /v1/messages HTTP/1.1 \r\n",
        "tabs": b"POST\t/v1/messages\tHTTP/1.1\r\n",
        "space before": b" POST /v1/messages HTTP/1.1\r\n",
        "an empty line before": b"\r\nPOST /v1/messages HTTP/1.1\r\n",
        "LF before": b"\nPOST /v1/messages HTTP/1.1\r\n",
        "no version": b"POST /v1/messages\r\n",
        "HTTP/0.9": b"POST /v1/messages HTTP/0.9\r\n",
        "HTTP/1.2": b"POST /v1/messages HTTP/1.2\r\n",
        "HTTP/2.0": b"POST /v1/messages HTTP/2.0\r\n",
        "HTTP/1.10": b"POST /v1/messages HTTP/1.10\r\n",
        "HTTP/01.1": b"POST /v1/messages HTTP/01.1\r\n",
        "http in lower case": b"POST /v1/messages http/1.1\r\n",
        "version with a plus": b"POST /v1/messages HTTP/+1.1\r\n",
        "HTTP/1,1": b"POST /v1/messages HTTP/1,1\r\n",
        "ICE": b"SOURCE /v1/messages ICE/1.0\r\n",
        "RTSP": b"POST /v1/messages RTSP/1.0\r\n",
        "method in lower case": b"post /v1/messages HTTP/1.1\r\n",
        "method unknown": b"FETCH /v1/messages HTTP/1.1\r\n",
        "method with a NUL": b"PO\x00ST /v1/messages HTTP/1.1\r\n",
        "method with a colon": b"POST: /v1/messages HTTP/1.1\r\n",
        "method of a hundred letters": b"P" * 100 + b" /v1/messages HTTP/1.1\r\n",
        "CONNECT": b"CONNECT gateway.test:443 HTTP/1.1\r\n",
        "asterisk": b"OPTIONS * HTTP/1.1\r\n",
        "absolute form": b"POST http://gateway.test/v1/messages HTTP/1.1\r\n",
        "absolute form of another host": b"POST http://169.254.169.254/ HTTP/1.1\r\n",
        "no slash": b"POST v1/messages HTTP/1.1\r\n",
        "empty target": b"POST  HTTP/1.1\r\n",
        "fragment": b"POST /v1/messages#x HTTP/1.1\r\n",
        "backslash": b"POST /v1\\messages HTTP/1.1\r\n",
        "NUL in the target": b"POST /v1/\x00messages HTTP/1.1\r\n",
        "escape character in the target": b"POST /v1/\x1b[31m HTTP/1.1\r\n",
        "beyond ASCII in the target": "POST /v1/m\u00e9ssages HTTP/1.1\r\n".encode(),
        "DEL in the target": b"POST /v1/\x7f HTTP/1.1\r\n",
        "CR in the target": b"POST /v1/\rmessages HTTP/1.1\r\n",
        "preface of HTTP/2": b"PRI * HTTP/2.0\r\n",
        "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    }.items():
        yield Case(f"line: {name}", length(b"2", line=line), 400)
    yield Case("line: target too long", length(b"2", line=b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n"), 414)


def _fields() -> Iterator[Case]:
    for name, fields in {
        "bare LF": b"X-A: 1\nX-B: 2\r\n",
        "bare CR": b"X-A: 1\rX-B: 2\r\n",
        "LF before CRLF": b"X-A: 1\n\r\n",
        "CR before CRLF": b"X-A: 1\r\r\n",
        "folded with a space": b"X-A: 1\r\n 2\r\n",
        "folded with a tab": b"X-A: 1\r\n\t2\r\n",
        "folded when empty": b"X-A:\r\n 2\r\n",
        "NUL in the value": b"X-A: 1\x002\r\n",
        "bell in the value": b"X-A: \x07\r\n",
        "escape in the value": b"X-A: \x1b[2J\r\n",
        "DEL in the value": b"X-A: \x7f\r\n",
        "no colon": b"X-A\r\n",
        "no name": b": 1\r\n",
        "only a colon": b":\r\n",
        "space in the name": b"X A: 1\r\n",
        "space before the colon": b"X-A : 1\r\n",
        "space before the name": b" X-A: 1\r\n",
        "tab before the name": b"\tX-A: 1\r\n",
        "NUL in the name": b"X\x00A: 1\r\n",
        "beyond ASCII in the name": "X-\u00c4: 1\r\n".encode(),
        "parenthesis in the name": b"X(A): 1\r\n",
        "slash in the name": b"X/A: 1\r\n",
        "at sign in the name": b"X@A: 1\r\n",
        "bracket in the name": b"X[A]: 1\r\n",
        "quote in the name": b'X"A: 1\r\n',
        "comma in the name": b"X,A: 1\r\n",
        "equals in the name": b"X=A: 1\r\n",
    }.items():
        yield Case(f"field: {name}", request(fields + b"Content-Length: 2\r\n"), 400)
    for name, fields in {
        "empty value": b"X-A:\r\n",
        "blank value": b"X-A:   \r\n",
        "tab inside": b"X-A: a\tb\r\n",
        "beyond ASCII in the value": "X-A: \u00e9\r\n".encode(),
        "every letter of a name": b"!#$%&'*+-.^_`|~0aA: 1\r\n",
        "the same name twice": b"X-A: 1\r\nX-A: 2\r\n",
        "underscore in the name": b"session_id: 1\r\n",
    }.items():
        yield Case(f"field: {name}", request(fields + b"Content-Length: 2\r\n"), READ)
    yield Case("field: too many", request(b"X-A: 1\r\n" * 200 + b"Content-Length: 2\r\n"), 431)
    yield Case("field: as many as allowed", request(b"X-A: 1\r\n" * 120 + b"Content-Length: 2\r\n"), READ)
    yield Case("field: 64 KiB", request(b"X-A: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n"), 431)
    yield Case("field: 60 KiB", request(b"X-A: " + b"a" * 60_000 + b"\r\nContent-Length: 2\r\n"), READ)
    yield Case("field: a head without an end", LINE + HOST + b"X-A: 1\r\n" * 20_000, 431)


def _hosts() -> Iterator[Case]:
    for name, value in {
        "a name": b"gateway.test",
        "a name and a port": b"gateway.test:5563",
        "an address": b"127.0.0.1:5563",
        "an IPv6 address": b"[::1]:5563",
        "an underscore": b"ai_gateway:80",
    }.items():
        yield Case(f"host: {name}", length(b"2", host=b"Host: " + value + b"\r\n"), READ)
    for name, value in {
        "empty": b"",
        "a path": b"gateway.test/x",
        "a query": b"gateway.test?x",
        "a fragment": b"gateway.test#x",
        "user info": b"user@gateway.test",
        "a list": b"a.test, b.test",
        "a space": b"a.test b.test",
        "a backslash": b"a.test\\b",
        "a scheme": b"http://gateway.test",
        "a port that is none": b"gateway.test:port",
        "a port that is too long": b"gateway.test:555555",
        "two ports": b"gateway.test:1:2",
        "an open bracket": b"[::1",
        "a percent": b"gateway%2etest",
        "beyond ASCII": "g\u00e4teway.test".encode(),
        "a NUL": b"gateway\x00.test",
        "a quote": b'gateway".test',
        "markup": b"<script>",
    }.items():
        yield Case(f"host: {name}", length(b"2", host=b"Host: " + value + b"\r\n"), 400)
    yield Case("host: missing", length(b"2", host=b""), 400)
    yield Case("host: twice, equal", length(b"2", host=HOST + HOST), 400)
    yield Case("host: twice, different", length(b"2", host=HOST + b"Host: other.test\r\n"), 400)
    yield Case("host: twice, in two casings", length(b"2", host=HOST + b"HOST: other.test\r\n"), 400)
    old = LINE.replace(b"1.1", b"1.0")
    yield Case("host: missing under HTTP/1.0", length(b"2", line=old, host=b""), READ)


def _rest() -> Iterator[Case]:
    yield Case("expect: unknown", request(b"Expect: 200-ok\r\nContent-Length: 2\r\n"), 417)
    yield Case("expect: twice", request(b"Expect: 100-continue\r\n" * 2 + b"Content-Length: 2\r\n"), 400)
    yield Case("coding of the body twice", request(b"Content-Encoding: gzip\r\n" * 2 + b"Content-Length: 2\r\n"), 400)
    yield Case("type of the body twice", request(b"Content-Type: a/b\r\n" * 2 + b"Content-Length: 2\r\n"), 400)
    yield Case("upgrade to h2c", request(b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n"), READ)
    yield Case("HTTP/1.0", length(b"2", line=LINE.replace(b"1.1", b"1.0")), READ)


CASES: list[Case] = [*_lengths(), *_codings(), *_chunks(), *_lines(), *_fields(), *_hosts(), *_rest()]
ACCEPTED = [case for case in CASES if case.verdict == READ]
REFUSED = [case for case in CASES if case.verdict != READ]
