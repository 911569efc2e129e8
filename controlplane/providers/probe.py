"""The test button: one cheap, unbilled call to the provider, as its kind makes it, and the outcome in plain words."""

from __future__ import annotations

import time
from dataclasses import dataclass

from controlplane.environment import environment
from controlplane.providers import gate, ssrf
from controlplane.providers.credentials import credential_of
from controlplane.providers.kinds import KINDS
from controlplane.providers.models import Provider
from controlplane.providers.vault import CannotUnseal
from dataplane.core.snapshot import ProviderKind


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    ok: bool
    message: str
    elapsed_ms: int


def probe(provider: Provider) -> ProbeOutcome:
    """Call the provider with its credential. Never raises for what the provider or the network does."""
    started = time.monotonic()

    def outcome(ok: bool, message: str) -> ProbeOutcome:
        return ProbeOutcome(ok, message, int((time.monotonic() - started) * 1000))

    kind = KINDS[ProviderKind(provider.kind)]
    try:
        url = ssrf.parse(provider.base_url, private_allowed=environment().allow_private_providers)
        status = kind.probe(provider, url, credential_of(provider))
    except ssrf.UnsafeUrl as error:
        return outcome(False, f"The base URL cannot be used: {error}.")
    except (CannotUnseal, UnicodeDecodeError):
        return outcome(False, "The stored credential cannot be read; enter it again.")
    except gate.Unreachable as error:
        return outcome(False, str(error))
    if status in kind.verdicts:
        return outcome(False, kind.verdicts[status])
    return outcome(*_verdict(status, url))


def _verdict(status: int, url: ssrf.BaseUrl) -> tuple[bool, str]:
    if status == 200:
        return True, "The provider answers and accepts the credential."
    if status == 401:
        return False, "The provider refuses the credential (401): it is wrong, revoked, or belongs to another provider."
    if status == 402:
        return False, "The provider knows the credential, but its account cannot pay (402): settle it there."
    if status == 403:
        return False, "The provider knows the credential but refuses it (403): check its permissions and region."
    if status == 404:
        return False, f"Nothing is found there (404): check the base URL, {url}."
    if status == 429:
        return True, "The provider accepts the credential but is limiting it right now (429)."
    if 300 <= status < 400:
        return False, f"The provider redirects elsewhere ({status}), which is not followed: enter the final address."
    if status >= 500:
        return False, f"The provider has a problem of its own ({status}); try again later."
    return False, f"The provider answers {status}, which is not an answer to a list of models: check kind and base URL."
