"""Anthropic's own API, and others that speak it."""

from __future__ import annotations

from controlplane.providers.kinds.kind import AdminKind, list_of_models
from dataplane.core.snapshot import ProviderKind


def _headers(credential: str) -> dict[str, str]:
    return {"x-api-key": credential, "anthropic-version": "2023-06-01"}


_ACCOUNT = {"anthropic-workspace-id": "the workspace (Claude Platform on AWS)"}

ANTHROPIC = AdminKind(
    ProviderKind.ANTHROPIC,
    label="Anthropic",
    base_url="https://api.anthropic.com",
    probe=list_of_models("v1/models?limit=1", _headers),
    base_url_help="With or without /v1.",
    credential_help="An API key of console.anthropic.com: sk-ant-api03-…",
    account_headers=_ACCOUNT,
)

ANTHROPIC_COMPATIBLE = AdminKind(
    ProviderKind.ANTHROPIC_COMPATIBLE,
    label="Anthropic-compatible",
    base_url="",
    probe=list_of_models("v1/models", _headers),
    base_url_help="With or without /v1, for instance https://llm.example.com",
    credential_help="Whatever the server takes as x-api-key.",
    model_help="Name the models; without any, every model name is taken to be served here.",
    account_headers=_ACCOUNT,
)
