"""Header fields as bytes, and the one encoder for those that we write ourselves."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

Field: TypeAlias = tuple[bytes, bytes]

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 §5.5: CR, LF and NUL end or cut a line; other control characters are refused with them.
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def field(name: bytes | str, value: bytes | str) -> Field:
    """Raises ValueError for a name that is no token and for a value with control characters or beyond latin-1."""
    try:
        name = name.encode("ascii") if isinstance(name, str) else name
        value = value.encode("latin-1") if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise ValueError("a header field beyond latin-1") from None  # the cause would carry the value
    if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise ValueError("a control character in a header field")
    return name, value


def lines_are_whole(fields: list[Field]) -> bool:
    """No field could end its line: for fields that come from elsewhere, checked together."""
    joined = b"".join(map(b"".join, fields))
    return b"\n" not in joined and b"\r" not in joined and b"\0" not in joined
