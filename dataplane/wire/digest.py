"""The digest of a configuration: XOR over its resources of the first 16 bytes of SHA-256, each as it was sent."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

DIGEST_BYTES: Final = 16


def fingerprint(resource: bytes) -> int:
    """What one resource adds, by XOR, to the digest of everything held."""
    return int.from_bytes(sha256(resource).digest()[:DIGEST_BYTES], "big")


def digest_bytes(digest: int) -> bytes:
    """As Update and Hello say it."""
    return digest.to_bytes(DIGEST_BYTES, "big")
