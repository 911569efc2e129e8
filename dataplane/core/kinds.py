"""What there is to know about a kind of provider without talking to it: the dialects it speaks, the names of its
models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataplane.core.globs import GlobSet
from dataplane.core.snapshot import ProviderKind

# The wire formats that a kind answers; names of dataplane.dialects.dialect.DialectName.
DIALECTS: Final[Mapping[ProviderKind, frozenset[str]]] = {
    ProviderKind.ANTHROPIC: frozenset({"anthropic_messages"}),
    ProviderKind.ANTHROPIC_COMPATIBLE: frozenset({"anthropic_messages"}),
    ProviderKind.OPENAI: frozenset({"openai_responses", "openai_chat"}),
    ProviderKind.AZURE_OPENAI: frozenset({"openai_responses", "openai_chat"}),
    ProviderKind.OPENAI_COMPATIBLE: frozenset({"openai_responses", "openai_chat"}),
    ProviderKind.GEMINI: frozenset({"gemini"}),
}

_OPENAI_NAMES: Final = (
    "gpt*",
    *(f"o{digit}*" for digit in range(10)),
    "chatgpt*",
    "codex*",
    "text-embedding*",
    "computer-use*",
)
# What a provider serves that declares no models of its own.
NAMES: Final[Mapping[ProviderKind, GlobSet]] = {
    ProviderKind.ANTHROPIC: GlobSet(("claude*",)),
    ProviderKind.OPENAI: GlobSet(_OPENAI_NAMES),
    ProviderKind.AZURE_OPENAI: GlobSet(_OPENAI_NAMES),
    ProviderKind.GEMINI: GlobSet(("gemini*", "gemma*", "*embedding*")),
    ProviderKind.OPENAI_COMPATIBLE: GlobSet(("*",)),
    ProviderKind.ANTHROPIC_COMPATIBLE: GlobSet(("*",)),
}


_NO_DIALECTS: Final[frozenset[str]] = frozenset()
_NO_NAMES: Final = GlobSet(())


def dialects_of(kind: ProviderKind) -> frozenset[str]:
    """None for a kind that stands nowhere: it gets no requests, and is in no other provider's way."""
    return DIALECTS.get(kind, _NO_DIALECTS)


def names_of(kind: ProviderKind) -> GlobSet:
    """None for a kind that stands nowhere, as above."""
    return NAMES.get(kind, _NO_NAMES)


def demand_every_kind(table: Mapping[ProviderKind, object], where: str) -> None:
    """Raises LookupError naming the kinds that have no row: a program with half a kind does not start."""
    missing = [kind.value for kind in ProviderKind if kind not in table]
    if missing:
        raise LookupError(f"provider kind {', '.join(missing)}: no row in {where}")


demand_every_kind(DIALECTS, "DIALECTS of dataplane/core/kinds.py")
demand_every_kind(NAMES, "NAMES of dataplane/core/kinds.py")
