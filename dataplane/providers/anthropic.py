"""Anthropic's own API, and others that speak it.

https://docs.anthropic.com/en/api/overview: `x-api-key`, and `anthropic-version` on every request.
"""

from __future__ import annotations

from dataplane.providers.fields import Field, field
from dataplane.providers.kind import UpstreamKind, bearer, under_version

_VERSION = (field("anthropic-version", "2023-06-01"),)


def _x_api_key(secret: bytes) -> tuple[Field, ...]:
    return (field(b"x-api-key", secret),)


# https://docs.aws.amazon.com/claude-platform/latest/userguide/making-requests.html
_ACCOUNT = frozenset({"anthropic-workspace-id"})

ANTHROPIC = UpstreamKind(path=under_version("v1"), credential=_x_api_key, defaults=_VERSION, account_headers=_ACCOUNT)

# Some look at one, some at the other (OpenRouter, Z.ai and Moonshot document ANTHROPIC_AUTH_TOKEN, DeepSeek the key).
ANTHROPIC_COMPATIBLE = UpstreamKind(
    path=under_version("v1"),
    credential=lambda secret: (*_x_api_key(secret), *bearer(secret)),
    defaults=_VERSION,
    account_headers=_ACCOUNT,
)
