"""OpenAI's own API, and others that speak it."""

from __future__ import annotations

from dataplane.providers.kind import UpstreamKind, bearer, under_version

OPENAI = UpstreamKind(path=under_version("v1"), credential=bearer)

OPENAI_COMPATIBLE = OPENAI
