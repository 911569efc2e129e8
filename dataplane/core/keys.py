"""Virtual keys as text: minting, parsing and the digest that stands for one.

`lw_vk_live_` or `lw_vk_test_`, then 10 characters of public id, 26 of secret (130 random bits) and 6 of checksum, all
in Crockford's base32, upper case. The checksum (the first 30 bits of SHA-256 over everything before it) lets a pod and
a secret scanner tell a typo from a key without asking anybody; it protects nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dataplane.core.secret import Secret

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PUBLIC_ID_LENGTH: Final = 10
SECRET_LENGTH: Final = 26
CHECKSUM_LENGTH: Final = 6
TOKEN_LENGTH: Final = len("lw_vk_live_") + PUBLIC_ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH

# What every key of ours starts with: the mark by which headers, logs and the choice among several credentials know it.
MARK: Final = b"lw_vk_"

# A pepper below this is a mistake of configuration: an HMAC under an empty key can be computed by anybody.
MINIMUM_PEPPER: Final = 32

_PAIRS: Final = tuple(first + second for first in ALPHABET for second in ALPHABET)  # of letters, for ten bits each

_TOKEN = re.compile(rb"lw_vk_(live|test)_([0-9A-HJKMNP-TV-Z]{10})[0-9A-HJKMNP-TV-Z]{26}([0-9A-HJKMNP-TV-Z]{6})")


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key. The token is shown once; the public id is what stays visible."""

    token: Secret
    public_id: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A well-formed key: nothing is said about whether it exists."""

    public_id: str
    env: str


def mint(env: str, random: Callable[[int], bytes]) -> Minted:
    """A key out of `random` (`secrets.token_bytes`). Raises ValueError for another env than live or test."""
    if env not in ("live", "test"):
        raise ValueError("env is live or test")
    public_id = _letters(random(7), PUBLIC_ID_LENGTH)
    body = f"lw_vk_{env}_{public_id}{_letters(random(17), SECRET_LENGTH)}"
    return Minted(Secret(body + _checksum(body.encode())), public_id)


def parse(token: bytes | str) -> Parsed | None:
    """None for anything that we cannot have minted: length, prefix, alphabet, checksum; lower case does not count."""
    if len(token) != TOKEN_LENGTH:
        return None
    if isinstance(token, str):
        if not token.isascii():
            return None
        token = token.encode("ascii")
    match = _TOKEN.fullmatch(token)
    if match is None or match[3].decode() != _checksum(token[:-CHECKSUM_LENGTH]):
        return None
    return Parsed(match[2].decode(), match[1].decode())


def digest(pepper: Secret, token: bytes | str) -> bytes:
    """HMAC-SHA256 of the whole token: what is stored and compared. Raises ValueError for a pepper below 32 bytes."""
    key = pepper.reveal()
    if len(key) < MINIMUM_PEPPER:
        raise ValueError("a pepper has at least 32 bytes")
    return hmac.digest(key, token.encode() if isinstance(token, str) else token, "sha256")


def shown(public_id: str, env: str = "live") -> str:
    """How a key is named to people: prefix and public id, never a character of the secret."""
    return f"lw_vk_{env}_{public_id}…"


def _checksum(body: bytes) -> str:
    number = int.from_bytes(hashlib.sha256(body).digest()[:4]) >> 2
    return _PAIRS[number >> 20] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]


def _letters(data: bytes, count: int) -> str:
    """The first `count` groups of five bits, as letters."""
    number = int.from_bytes(data) >> (len(data) * 8 - count * 5)
    return "".join([ALPHABET[(number >> shift) & 31] for shift in range((count - 1) * 5, -1, -5)])
