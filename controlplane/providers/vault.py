"""Credentials at rest: AES-256-GCM under a key of their own, which a root key of the environment wraps.

Both layers are bound to table, row, field and version: a ciphertext that is moved to another row, or put back after a
newer one, does not open. Rotating the root key re-wraps the small inner key and leaves the ciphertext alone.

Layout of a sealed value: format (1 byte), nonce (12), wrapped inner key (48), nonce (12), ciphertext with tag.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controlplane.environment import environment
from dataplane.core.secret import Secret

FORMAT = 1
_NONCE, _WRAPPED = 12, 48
_HEADER = 1 + _NONCE + _WRAPPED + _NONCE


class CannotUnseal(Exception):
    """The value was altered, moved, or sealed under a root key that is not given. Never says what it holds."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is stored: opaque bytes, and the version of the root key that they need."""

    value: bytes
    root_version: int


@dataclass(frozen=True, slots=True)
class SealedPlace:
    """The only place where a sealed value opens."""

    table: str
    row: str
    field: str
    version: int

    def bound(self, layer: str) -> bytes:
        parts = ("aigateway", str(FORMAT), layer, self.table, self.row, self.field, str(self.version))
        return b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)


def seal(secret: Secret, place: SealedPlace) -> Sealed:
    """Under the newest root key."""
    version, root = next(iter(environment().root_keyring().items()))
    inner = AESGCM.generate_key(bit_length=256)
    nonce = os.urandom(_NONCE)
    ciphertext = AESGCM(inner).encrypt(nonce, secret.reveal(), place.bound("value"))
    return Sealed(bytes([FORMAT]) + _wrap(root, inner, version, place) + nonce + ciphertext, version)


def unseal(sealed: Sealed, place: SealedPlace) -> Secret:
    """Raises CannotUnseal."""
    inner = _unwrap(sealed, place)
    nonce, ciphertext = sealed.value[_HEADER - _NONCE : _HEADER], sealed.value[_HEADER:]
    try:
        return Secret(AESGCM(inner).decrypt(nonce, ciphertext, place.bound("value")))
    except InvalidTag:
        raise CannotUnseal(f"{place.table} {place.row}: the credential was altered or moved") from None


def opens_none(stored: Iterable[tuple[Sealed, SealedPlace]]) -> bool:
    """Whether there are some and not one opens: then it is the root key that is wrong, not a value that was altered."""
    tried = False
    for sealed, place in stored:
        tried = True
        try:
            unseal(sealed, place)
        except CannotUnseal:
            continue
        return False
    return tried


def rewrap(sealed: Sealed, place: SealedPlace) -> Sealed:
    """The same value under the newest root key."""
    inner = _unwrap(sealed, place)
    version, root = next(iter(environment().root_keyring().items()))
    wrapped = _wrap(root, inner, version, place)
    return Sealed(sealed.value[:1] + wrapped + sealed.value[_HEADER - _NONCE :], version)


def fingerprint(secret: Secret, scope: str) -> str:
    """Equal for equal credentials of one scope; says nothing else. 16 hexadecimal digits."""
    pepper = next(iter(environment().pepper_keyring().values()))
    key = hmac.digest(pepper.reveal(), b"credential fingerprint", hashlib.sha256)
    return hmac.new(key, scope.encode() + b"\0" + secret.reveal(), hashlib.sha256).hexdigest()[:16]


def last4(secret: Secret) -> str:
    """The end that people know a credential by; nothing of a short one."""
    text = secret.reveal().decode("ascii", errors="replace")
    return text[-4:] if len(text) >= 16 else ""


def self_test() -> None:
    """What is sealed opens, and only where it belongs. Raises CannotUnseal or ConfigurationError."""
    secret, place = Secret(os.urandom(24)), SealedPlace("self_test", "row", "field", 1)
    sealed = seal(secret, place)
    if unseal(sealed, place) != secret:
        raise CannotUnseal("self-test: a sealed value came back different")
    try:
        unseal(sealed, SealedPlace("self_test", "other row", "field", 1))
    except CannotUnseal:
        return
    raise CannotUnseal("self-test: a sealed value opened in another row")


def _wrap(root: Secret, inner: bytes, version: int, place: SealedPlace) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(root.reveal()).encrypt(nonce, inner, place.bound(f"key under {version}"))


def _unwrap(sealed: Sealed, place: SealedPlace) -> bytes:
    if len(sealed.value) < _HEADER or sealed.value[0] != FORMAT:
        raise CannotUnseal(f"{place.table} {place.row}: not a sealed credential")
    root = environment().root_keyring().get(sealed.root_version)
    if root is None:
        raise CannotUnseal(
            f"{place.table} {place.row}: needs root key version {sealed.root_version}, which is not given"
        )
    nonce, wrapped = sealed.value[1 : 1 + _NONCE], sealed.value[1 + _NONCE : 1 + _NONCE + _WRAPPED]
    try:
        return AESGCM(root.reveal()).decrypt(nonce, wrapped, place.bound(f"key under {sealed.root_version}"))
    except InvalidTag:
        raise CannotUnseal(f"{place.table} {place.row}: the credential was altered or moved") from None
