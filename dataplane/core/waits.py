"""How long a provider may take, where its row says so: for some models, or for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dataplane.core.globs import compiled


@dataclass(frozen=True, slots=True)
class Wait:
    """For models that match the pattern, in seconds; 0: it says nothing of that."""

    models: str
    first_byte_s: int = 0
    idle_s: int = 0


def waits_for(waits: Iterable[Wait], model: str) -> tuple[int, int]:
    """Until the first byte, and between two of them: of the first that matches the model and says it. 0: none does."""
    first_byte_s = idle_s = 0
    for wait in waits:
        if compiled((wait.models,)).matches(model):
            first_byte_s, idle_s = first_byte_s or wait.first_byte_s, idle_s or wait.idle_s
    return first_byte_s, idle_s
