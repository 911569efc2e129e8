"""Headers that choose an account of a provider's: which there are is its kind's to say, which values the row's.

A client's own never pass a pod: who holds a credential decides whose account it is used for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from django.core.exceptions import ValidationError

from controlplane.providers.kinds.kind import AdminKind

_FIELD: Final = "account_headers"
# Ids of organizations, projects, workspaces and deployments, Google's `example.com:project` among them.
_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/@-]{0,126}[A-Za-z0-9])?")
_SECRET: Final = re.compile(r"sk-|lw_|AIza|ya29\.|eyJ|AKIA|ASIA|Bearer", re.IGNORECASE)


def checked_account_headers(headers: object, kind: AdminKind) -> dict[str, str]:
    """With names in lower case, sorted.

    Raises ValidationError for a name that the kind has not, one that is there twice, and a value that is no id. Never
    repeats a value: it could be a secret that was pasted into the wrong field.
    """
    if not isinstance(headers, Mapping):
        raise ValidationError({_FIELD: "maps names of headers to values"})
    checked: dict[str, str] = {}
    for spelt, value in headers.items():
        name = str(spelt).strip().lower()
        if name not in kind.account_headers:
            raise ValidationError({_FIELD: f"“{_shown(name)}” chooses no account of {kind.label}: {_offered(kind)}"})
        if name in checked:
            raise ValidationError({_FIELD: f"{name} is there twice"})
        if not isinstance(value, str) or _VALUE.fullmatch(value.strip()) is None:
            raise ValidationError(
                {_FIELD: f"{name} is an id: up to 128 letters, digits and . _ : / @ - between, without blanks"}
            )
        if _SECRET.match(value.strip()):
            raise ValidationError({_FIELD: f"{name} looks like a secret; it names an account and is shown to admins"})
        checked[name] = value.strip()
    return dict(sorted(checked.items()))


def _offered(kind: AdminKind) -> str:
    if not kind.account_headers:
        return "it has none"
    return "it takes " + ", ".join(f"{name} ({what})" for name, what in kind.account_headers.items())


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:60])
