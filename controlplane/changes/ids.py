"""Ids of rows: a prefix that says what it is, then 26 Crockford base32 characters that sort by time of creation."""

from __future__ import annotations

import secrets
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26


def new_id(prefix: str) -> str:
    """`org` → `org_01K…`: 48 bits of Unix milliseconds, 80 random bits."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return f"{prefix}_" + "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5))
