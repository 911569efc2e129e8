"""The kinds of providers, as admins meet them: one module each, and one line here.

Nouns: `AdminKind` (where it lives, how its account is checked, what to tell who adds one), `OwnFields` (what only this
kind has to be told), `Probe` (the call of the test button). One rule: what differs from kind to kind is in its module;
nobody outside asks which kind it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.providers.kinds.anthropic import ANTHROPIC, ANTHROPIC_COMPATIBLE
from controlplane.providers.kinds.azure_openai import AZURE_OPENAI
from controlplane.providers.kinds.gemini import GEMINI
from controlplane.providers.kinds.kind import AdminKind
from controlplane.providers.kinds.openai import OPENAI, OPENAI_COMPATIBLE
from dataplane.core.kinds import demand_every_kind
from dataplane.core.snapshot import ProviderKind

# In the order in which admins are offered them.
KINDS: Mapping[ProviderKind, AdminKind] = {
    ProviderKind.ANTHROPIC: ANTHROPIC,
    ProviderKind.OPENAI: OPENAI,
    ProviderKind.GEMINI: GEMINI,
    ProviderKind.AZURE_OPENAI: AZURE_OPENAI,
    ProviderKind.OPENAI_COMPATIBLE: OPENAI_COMPATIBLE,
    ProviderKind.ANTHROPIC_COMPATIBLE: ANTHROPIC_COMPATIBLE,
}
demand_every_kind(KINDS, "KINDS of controlplane/providers/kinds/__init__.py")
