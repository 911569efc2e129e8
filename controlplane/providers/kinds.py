"""The kinds of providers: where they live, how their account is checked, and what to tell the admin who adds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dataplane.core.kinds import demand_every_kind
from dataplane.core.snapshot import ProviderKind


def _bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


def _anthropic(credential: str) -> dict[str, str]:
    return {"x-api-key": credential, "anthropic-version": "2023-06-01"}


def _azure(credential: str) -> dict[str, str]:
    return {"api-key": credential}


def _google(credential: str) -> dict[str, str]:
    return {"x-goog-api-key": credential}


@dataclass(frozen=True, slots=True)
class Kind:
    """`models_path`: the cheap, unbilled call of the test button, below the base URL, with the API's version first."""

    kind: ProviderKind
    label: str
    base_url: str  # default; empty: must be given
    models_path: str
    headers: Callable[[str], dict[str, str]]
    base_url_help: str
    credential_help: str
    model_help: str = "Leave empty to serve the kind's own models."


KINDS: Mapping[ProviderKind, Kind] = MappingProxyType(
    {
        kind.kind: kind
        for kind in (
            Kind(
                ProviderKind.ANTHROPIC,
                "Anthropic",
                "https://api.anthropic.com",
                "v1/models?limit=1",
                _anthropic,
                "With or without /v1.",
                "An API key of console.anthropic.com: sk-ant-api03-…",
            ),
            Kind(
                ProviderKind.OPENAI,
                "OpenAI",
                "https://api.openai.com",
                "v1/models",
                _bearer,
                "With or without /v1.",
                "A project API key of platform.openai.com: sk-proj-…",
            ),
            Kind(
                ProviderKind.GEMINI,
                "Google Gemini",
                "https://generativelanguage.googleapis.com",
                "v1beta/models?pageSize=1",
                _google,
                "With or without /v1beta.",
                "An API key of aistudio.google.com: AIza…",
            ),
            Kind(
                ProviderKind.AZURE_OPENAI,
                "Azure OpenAI",
                "",
                "openai/models",
                _azure,
                "The resource's endpoint: https://<resource>.openai.azure.com",
                "Key 1 or key 2 of the resource.",
                "Models and the deployments that serve them are named below.",
            ),
            Kind(
                ProviderKind.OPENAI_COMPATIBLE,
                "OpenAI-compatible",
                "",
                "v1/models",
                _bearer,
                "With or without /v1, for instance https://llm.example.com",
                "Whatever the server takes as a bearer token.",
                "Name the models; without any, every model name is taken to be served here.",
            ),
            Kind(
                ProviderKind.ANTHROPIC_COMPATIBLE,
                "Anthropic-compatible",
                "",
                "v1/models",
                _anthropic,
                "With or without /v1, for instance https://llm.example.com",
                "Whatever the server takes as x-api-key.",
                "Name the models; without any, every model name is taken to be served here.",
            ),
        )
    }
)
demand_every_kind(KINDS, "KINDS of controlplane/providers/kinds.py")
AZURE_DEFAULT_API_VERSION = "2024-10-21"
