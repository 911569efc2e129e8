"""Every kind of provider that there is: one line each."""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.core.kinds import demand_every_kind
from dataplane.core.snapshot import ProviderKind
from dataplane.providers.anthropic import ANTHROPIC, ANTHROPIC_COMPATIBLE
from dataplane.providers.azure_openai import AZURE_OPENAI
from dataplane.providers.gemini import GEMINI
from dataplane.providers.kind import UpstreamKind
from dataplane.providers.openai import OPENAI, OPENAI_COMPATIBLE

KINDS: Mapping[ProviderKind, UpstreamKind] = {
    ProviderKind.ANTHROPIC: ANTHROPIC,
    ProviderKind.OPENAI: OPENAI,
    ProviderKind.GEMINI: GEMINI,
    ProviderKind.AZURE_OPENAI: AZURE_OPENAI,
    ProviderKind.OPENAI_COMPATIBLE: OPENAI_COMPATIBLE,
    ProviderKind.ANTHROPIC_COMPATIBLE: ANTHROPIC_COMPATIBLE,
}
demand_every_kind(KINDS, "KINDS of dataplane/providers/registry.py")
