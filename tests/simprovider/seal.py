"""Signatures that only the simulator can have made: proof that thinking came back through the gateway untouched."""

from __future__ import annotations

import base64
import hashlib

_OWN = b"simprovider"
FOREIGN_BUT_FINE = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")


def sign(kind: str, text: str) -> str:
    """Base64, as long as a real one is short; bound to `text`."""
    digest = hashlib.sha512(_OWN + kind.encode() + b"\0" + text.encode("utf-8", "surrogatepass")).digest()
    return base64.b64encode(b"\x12sim" + digest).decode()


def seal(kind: str, text: str) -> str:
    """Opaque content that certifies itself: `opened` gives the text back, or None after any change."""
    return base64.b64encode(text.encode()).decode() + "." + sign(kind, text)


def opened(kind: str, sealed: str) -> str | None:
    carried, _, signature = sealed.partition(".")
    try:
        text = base64.b64decode(carried, validate=True).decode()
    except ValueError:
        return None
    return text if sign(kind, text) == signature else None
