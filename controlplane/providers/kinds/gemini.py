"""The Gemini API of Google AI Studio."""

from __future__ import annotations

from controlplane.providers.kinds.kind import AdminKind, list_of_models
from dataplane.core.snapshot import ProviderKind


def _headers(credential: str) -> dict[str, str]:
    return {"x-goog-api-key": credential}


GEMINI = AdminKind(
    ProviderKind.GEMINI,
    label="Google Gemini",
    base_url="https://generativelanguage.googleapis.com",
    probe=list_of_models("v1beta/models?pageSize=1", _headers),
    base_url_help="With or without /v1beta.",
    credential_help="An API key of aistudio.google.com: AIza…",
    account_headers={"x-goog-user-project": "the project that is billed"},
    verdicts={400: "The provider refuses the request (400): nearly always, the API key is wrong or has expired."},
)
