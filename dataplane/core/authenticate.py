"""Who is asking: a credential becomes a virtual key, or a Refusal that tells its holder what is wrong.

Only whoever holds the right secret learns that a key exists and what state it is in. Malformed, unknown and wrong ones
get the same words after the same work.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple

from dataplane.core import keys, understanding
from dataplane.core.errors import Code, Refusal
from dataplane.core.refusals import who_can_help
from dataplane.core.secret import Secret
from dataplane.core.snapshot import KeySecret, KeyState, Snapshot, VirtualKey

MISSING_WORDS: Final = "missing API key; supply Authorization: Bearer lw_vk_... or x-api-key"
INVALID_WORDS: Final = "invalid API key; check that the whole virtual key was pasted, or ask for a new one"

_DUMMY_PEPPER: Final = Secret(b"\0" * keys.MINIMUM_PEPPER)
_DUMMY_TOKEN: Final = b"0" * keys.TOKEN_LENGTH
_DUMMY_DIGEST: Final = b"\0" * 32


class UnknownKey(Exception):
    """A well-formed key that this snapshot does not hold: the control plane may know it. If not, `invalid_key()`."""

    def __init__(self, public_id: str) -> None:
        super().__init__(public_id)
        self.public_id = public_id


class Authenticated(NamedTuple):
    """Who asks. `public_id`: of the secret that was shown; `until_ms`: how long the same question has the same answer,
    in Unix milliseconds, 0 without an end."""

    key: VirtualKey
    public_id: str
    until_ms: int


def missing_key() -> Refusal:
    return Refusal(Code.MISSING_API_KEY, MISSING_WORDS)


def invalid_key() -> Refusal:
    """The one answer for malformed, unknown and wrong keys."""
    return Refusal(Code.INVALID_API_KEY, INVALID_WORDS)


def stale() -> Refusal:
    """For a pod that does not know whether what it knows is the newest."""
    return Refusal(
        Code.CONFIGURATION_STALE,
        "this pod has not been told for too long that its configuration is the newest; try again",
        retry_after=5,
    )


def authenticate(snapshot: Snapshot, token: bytes | str, peppers: Mapping[int, Secret], now_ms: int) -> VirtualKey:
    """The key that `token` is. Raises Refusal, or UnknownKey when asking the control plane could help."""
    return authenticated(snapshot, token, peppers, now_ms).key


def authenticated(snapshot: Snapshot, token: bytes | str, peppers: Mapping[int, Secret], now_ms: int) -> Authenticated:
    """As `authenticate`, with what it takes to ask again later."""
    if not token:
        raise missing_key()
    parsed = keys.parse(token)
    if parsed is None:
        _same_work(_DUMMY_TOKEN)
        raise invalid_key()
    key = snapshot.key_by_public_id(parsed.public_id)
    secret = _secret(key, parsed.public_id)
    if key is None or secret is None:
        _same_work(token)
        if key is None:
            raise UnknownKey(parsed.public_id)
        raise invalid_key()
    pepper = peppers.get(secret.pepper_version)
    if pepper is None:
        # The fault is ours: a 401 would send the holder of a good key looking for another.
        raise Refusal(Code.NO_CONFIGURATION, "the gateway cannot check keys yet; try again", retry_after=1)
    if not hmac.compare_digest(keys.digest(pepper, token), secret.digest):
        raise invalid_key()
    _refuse_unless_usable(snapshot, key, secret, now_ms)
    ends = [at for at in (key.expires_at_ms, secret.not_after_ms) if at]
    return Authenticated(key, parsed.public_id, min(ends, default=0))


def refuse_unless_usable(snapshot: Snapshot, key: VirtualKey, now_ms: int, public_id: str = "") -> VirtualKey:
    """For a key authenticated a while ago: how it stands now, with the secret that was shown (empty: with any).

    Returns the key as it is now.
    """
    current = snapshot.keys.get(key.id)
    if current is None:
        raise invalid_key()
    secret = _secret(current, public_id) if public_id else None
    _refuse_unless_usable(snapshot, current, secret, now_ms)
    if public_id and secret is None:
        raise _rotated(snapshot, current)
    return current


def _secret(key: VirtualKey | None, public_id: str) -> KeySecret | None:
    if key is not None:
        for secret in key.secrets:
            if secret.public_id == public_id:
                return secret
    return None


def _same_work(token: bytes | str) -> None:
    hmac.compare_digest(keys.digest(_DUMMY_PEPPER, token), _DUMMY_DIGEST)


def _refuse_unless_usable(snapshot: Snapshot, key: VirtualKey, secret: KeySecret | None, now_ms: int) -> None:
    if key.state is KeyState.REVOKED:
        raise _stopped(snapshot, key, Code.VIRTUAL_KEY_REVOKED, "this virtual key was revoked", "get a new one")
    doubt = snapshot.not_understood_over(key)
    if doubt is not None:  # before what may have been misread, after what cannot have been
        raise understanding.covered(doubt, key)
    if key.state is KeyState.DISABLED:
        raise _stopped(snapshot, key, Code.VIRTUAL_KEY_DISABLED, "this virtual key is disabled", "have it enabled")
    if key.state is not KeyState.ACTIVE:
        raise AssertionError(f"no such state: {key.state}")
    if key.expires_at_ms and key.expires_at_ms <= now_ms:
        raise _stopped(snapshot, key, Code.VIRTUAL_KEY_EXPIRED, "this virtual key has expired", "get a new one")
    if secret is not None and secret.not_after_ms and secret.not_after_ms <= now_ms:
        raise _rotated(snapshot, key)
    belongs_to = _inactive(snapshot, key)
    if belongs_to:
        raise _stopped(
            snapshot,
            key,
            Code.VIRTUAL_KEY_DISABLED,
            f"the {belongs_to} that this virtual key belongs to is not active",
            "have it activated",
        )


def _rotated(snapshot: Snapshot, key: VirtualKey) -> Refusal:
    what = "this virtual key was rotated and the old one no longer works"
    return _stopped(snapshot, key, Code.VIRTUAL_KEY_EXPIRED, what, "paste the new one")


def _inactive(snapshot: Snapshot, key: VirtualKey) -> str:
    """What of those that the key belongs to is not active; "" when all are."""
    organization = snapshot.organizations.get(key.organization_id)
    if organization is None or not organization.active:
        return "organization"
    if key.project_id:
        project = snapshot.projects.get(key.project_id)
        if project is None or not project.active:
            return "project"
    if key.principal_id:
        principal = snapshot.principals.get(key.principal_id)
        if principal is None or not principal.active:
            return "person or service"
    return ""


def _stopped(snapshot: Snapshot, key: VirtualKey, code: Code, what: str, remedy: str) -> Refusal:
    who = who_can_help(snapshot.view(key.organization_id))
    return Refusal(code, f"{what}; {remedy}: ask {who}", meta={"virtual_key_id": key.id})
