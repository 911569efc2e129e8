"""HTTP/2 is not spoken here. Who begins with it is told so in its own frames: of our HTTP/1.1 it could read nothing."""

from __future__ import annotations

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"  # RFC 9113 §3.4; six more bytes follow

_WORDS: Final = b"this gateway speaks HTTP/1.1 (HTTP/2 ends at the proxy in front of it)"
_SETTINGS: Final = b"\0\0\0\x04\0\0\0\0\0"  # the first frame must be this one, RFC 9113 §3.4
_GOAWAY: Final = 7
_HTTP_1_1_REQUIRED: Final = 13
_DATA: Final = (0).to_bytes(4, "big") + _HTTP_1_1_REQUIRED.to_bytes(4, "big") + _WORDS  # no stream was looked at

GOODBYE: Final = _SETTINGS + len(_DATA).to_bytes(3, "big") + bytes((_GOAWAY, 0)) + bytes(4) + _DATA
