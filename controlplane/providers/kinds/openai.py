"""OpenAI's own API, and others that speak it."""

from __future__ import annotations

from controlplane.providers.kinds.kind import AdminKind, bearer, list_of_models, stored_response
from dataplane.core.snapshot import ProviderKind

_ACCOUNT = {"openai-organization": "the organization", "openai-project": "the project"}

OPENAI = AdminKind(
    ProviderKind.OPENAI,
    label="OpenAI",
    base_url="https://api.openai.com",
    probe=list_of_models("v1/models", bearer),
    base_url_help="With or without /v1.",
    credential_help="A project API key of platform.openai.com: sk-proj-…",
    account_headers=_ACCOUNT,
    stored=stored_response(bearer),
)

OPENAI_COMPATIBLE = AdminKind(
    ProviderKind.OPENAI_COMPATIBLE,
    label="OpenAI-compatible",
    base_url="",
    probe=list_of_models("v1/models", bearer),
    base_url_help="With or without /v1, for instance https://llm.example.com",
    credential_help="Whatever the server takes as a bearer token.",
    model_help="Name the models; without any, every model name is taken to be served here.",
    account_headers=_ACCOUNT | {"x-goog-user-project": "the project that Google bills"},
    stored=stored_response(bearer),
)
