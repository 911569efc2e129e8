"""OpenAI's own API, and others that speak it."""

from __future__ import annotations

from dataclasses import replace

from dataplane.providers.kind import UpstreamKind, bearer, under_version

# https://platform.openai.com/docs/api-reference/authentication
_ACCOUNT = frozenset({"openai-organization", "openai-project"})

OPENAI = UpstreamKind(path=under_version("v1"), credential=bearer, account_headers=_ACCOUNT)

# Google speaks this dialect too: https://cloud.google.com/apis/docs/system-parameters
OPENAI_COMPATIBLE = replace(OPENAI, account_headers=_ACCOUNT | {"x-goog-user-project"})
