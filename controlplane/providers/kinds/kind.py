"""`AdminKind`: what a slice declares, and the parts that slices are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from controlplane.providers import gate, ssrf
from controlplane.providers.models import Provider
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind

MOST_MODELS: Final = 500
LARGEST_STORED: Final = 16 * 1024 * 1024  # bytes: images are in there
MODEL_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")

# The cheap, unbilled call of the test button, below a base URL that was checked: the status of the answer. May raise
# gate.Unreachable, whose words are shown, and UnicodeDecodeError for a credential that is none.
Probe: TypeAlias = Callable[[Provider, ssrf.BaseUrl, Secret], int]
# An answer that the provider keeps, by its id; raises as a probe does.
Stored: TypeAlias = Callable[[Provider, ssrf.BaseUrl, Secret, str], gate.Answer]


def _accepts(provider: Provider) -> None:
    """Nothing of its own is missing."""


@dataclass(frozen=True, slots=True)
class OwnFields:
    """Columns of `Provider` that only some kinds fill in; `names` in the order of the form.

    `clean` makes what people type into what is stored, `check` looks at the whole row; both raise ValidationError.
    `elsewhere` is said, by field, where another kind is given one of them.
    """

    names: tuple[str, ...] = ()
    clean: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    check: Callable[[Provider], None] = _accepts
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdminKind:
    """One kind of provider. `verdicts`: what a status of the probe's answer means where it is not the usual.

    `account_headers`: those that choose an account there, in lower case, and what each chooses.
    """

    kind: ProviderKind
    label: str
    base_url: str  # default; empty: must be given
    probe: Probe
    base_url_help: str
    credential_help: str
    model_help: str = "Leave empty to serve the kind's own models."
    own: OwnFields = OwnFields()
    stored: Stored | None = None  # how an answer that the provider keeps is asked for; None: it keeps none
    account_headers: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[int, str] = field(default_factory=dict)


def list_of_models(
    path: str, headers: Callable[[str], dict[str, str]], query: Callable[[Provider], str] = lambda provider: ""
) -> Probe:
    """Asks for the models. `path` has the API's version first, which is left out where the base URL ends with one."""

    def probe(provider: Provider, url: ssrf.BaseUrl, credential: Secret) -> int:
        before, _, parameters = path.partition("?")
        if url.versioned:
            before = before.partition("/")[2]
        fields = headers(credential.reveal().decode("ascii")) | {"user-agent": "aigateway-provider-test"}
        fields |= provider.account_headers
        return gate.call("GET", url, path=f"/{before}", query=query(provider) or parameters, headers=fields).status

    return probe


def _under_v1(url: ssrf.BaseUrl) -> str:
    return "" if url.versioned else "/v1"


def stored_response(
    headers: Callable[[str], dict[str, str]], prefix: Callable[[ssrf.BaseUrl], str] = _under_v1
) -> Stored:
    """Asks the Responses API for one, below `prefix`."""

    def ask(provider: Provider, url: ssrf.BaseUrl, credential: Secret, object_id: str) -> gate.Answer:
        path = f"{prefix(url)}/responses/{quote(object_id, safe='')}"
        fields = headers(credential.reveal().decode("ascii")) | {"user-agent": "aigateway-figures"}
        fields |= provider.account_headers
        return gate.call("GET", url, path=path, headers=fields, most_bytes=LARGEST_STORED)

    return ask


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}
