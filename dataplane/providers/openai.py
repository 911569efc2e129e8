"""OpenAI's own API, and others that speak it."""

from __future__ import annotations

from dataplane.providers.kind import Kind, bearer, under_version

OPENAI = Kind(path=under_version("v1"), credential=bearer)

OPENAI_COMPATIBLE = OPENAI
