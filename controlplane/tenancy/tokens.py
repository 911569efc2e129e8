"""API tokens as text: `lw_at_`, 10 characters of public id, 26 of secret, 6 of checksum, Crockford base32.

The same idea as virtual keys: a checksum that refuses typos without a look-up, and a keyed digest at rest.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.changes.ids import ALPHABET
from controlplane.environment import environment
from controlplane.tenancy.models import TOKEN_MARK, ApiToken
from dataplane.core.keys import digest
from dataplane.core.secret import Secret

LAST_USED_EVERY = timedelta(seconds=60)
_TOKEN = re.compile(r"lw_at_([0-9A-HJKMNP-TV-Z]{10})[0-9A-HJKMNP-TV-Z]{26}([0-9A-HJKMNP-TV-Z]{6})", re.ASCII)


def new_token() -> tuple[Secret, str]:
    """A token and its public id."""
    public_id = _letters(secrets.token_bytes(7), 10)
    body = f"{TOKEN_MARK}{public_id}{_letters(secrets.token_bytes(17), 26)}"
    return Secret(body + _checksum(body)), public_id


def parse(token: str) -> str | None:
    """The public id of a well-formed token."""
    match = _TOKEN.fullmatch(token)
    if match is None or match[2] != _checksum(token[:-6]):
        return None
    return match[1]


def authenticate(token: str, address: str = "") -> Actor | None:
    """Returns who presents this token, and notes the use; None for a malformed, unknown, expired or revoked one."""
    public_id = parse(token)
    if public_id is None:
        return None
    now = timezone.now()
    row = ApiToken.objects.filter(public_id=public_id).select_related("organization").first()
    pepper = environment().pepper_keyring().get(row.pepper_version) if row is not None else None
    if row is None or pepper is None:
        # As much work as for a token that exists.
        digest(next(iter(environment().pepper_keyring().values())), token)
        return None
    if not hmac.compare_digest(digest(pepper, token), bytes(row.digest)):
        return None
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_EVERY), pk=row.pk).update(
        last_used_at=now
    )
    return Actor.of_token(row.pk, row.name, address)


def _checksum(body: str) -> str:
    return _letters(hashlib.sha256(body.encode()).digest(), 6)


def _letters(data: bytes, count: int) -> str:
    number = int.from_bytes(data) >> (len(data) * 8 - count * 5)
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range((count - 1) * 5, -1, -5))
