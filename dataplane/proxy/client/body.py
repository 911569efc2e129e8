"""The bytes of a request's body while they come in."""

from __future__ import annotations

from typing import Final

from dataplane.core.errors import Code, Refusal
from dataplane.proxy.limits import Limits

_SMALL: Final = 4 * 1024  # an object of its own costs a byte 33 more
_TOGETHER: Final = 64 * 1024


class Pieces:
    """What came, in its order: small pieces together, so that a body in a million of them costs what it counts as."""

    __slots__ = ("_large", "_small")

    def __init__(self) -> None:
        self._large: list[bytes] = []
        self._small = bytearray()

    def append(self, piece: bytes) -> None:
        if self._large and len(piece) < _SMALL:
            self._small += piece
            if len(self._small) >= _TOGETHER:
                self._put_together()
            return
        if self._small:
            self._put_together()
        self._large.append(piece)

    def take(self) -> bytes:
        """All of it; nothing stays behind."""
        if self._small:
            self._put_together()
        large, self._large = self._large, []
        return large[0] if len(large) == 1 else b"".join(large)

    def clear(self) -> None:
        self._large.clear()
        self._small.clear()

    def __len__(self) -> int:
        """Objects, not bytes."""
        return len(self._large) + bool(self._small)

    def _put_together(self) -> None:
        self._large.append(bytes(self._small))
        self._small.clear()


def too_large(limits: Limits) -> Refusal:
    return Refusal(
        Code.PAYLOAD_TOO_LARGE,
        f"the request body is larger than {limits.body_bytes} bytes",
        meta={"limit_bytes": limits.body_bytes},
    )
