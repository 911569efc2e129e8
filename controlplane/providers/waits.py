"""How long a provider may take, as admins say it: checked, and as pods are told it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError

from controlplane.providers.kinds.kind import MODEL_NAME
from controlplane.providers.models import Provider
from dataplane.core.waits import Wait

LEAST_S, MOST_S = 1, 3_600
MOST_ENTRIES: Final = 50
NAMES: Final = ("first_byte_s", "idle_s")  # as they are called in the columns and in each entry
_SECONDS: Final = f"is a whole number of seconds from {LEAST_S} to {MOST_S:,}, or empty: as the pods do"


def checked_first_byte(value: object) -> int | None:
    return _seconds(value, "first_byte_s", _SECONDS)


def checked_idle(value: object) -> int | None:
    return _seconds(value, "idle_s", _SECONDS)


def checked_model_waits(entries: object) -> list[dict[str, Any]]:
    """As they were, each with both numbers. Raises ValidationError that says which is wrong."""
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        raise ValidationError({"model_waits": f"are at most {MOST_ENTRIES} entries"})
    patterns: set[str] = set()
    checked = []
    for number, entry in enumerate(entries, 1):
        pattern = entry.get("models") if isinstance(entry, Mapping) else None
        if not isinstance(pattern, str) or MODEL_NAME.fullmatch(pattern) is None:
            words = "names a model, with * where anything may stand, without blanks"
            raise ValidationError({"model_waits": f"entry {number} {words}"})
        if pattern in patterns:
            raise ValidationError({"model_waits": f"entry {number}: {pattern} is there twice"})
        patterns.add(pattern)
        seconds = {name: _seconds(entry.get(name), "model_waits", f"{pattern}: each {_SECONDS}") for name in NAMES}
        if not any(seconds.values()):
            raise ValidationError(
                {"model_waits": f"{pattern}: says how long until the first byte, between two, or both"}
            )
        checked.append({"models": pattern, **seconds})
    return checked


def core_waits(row: Provider) -> tuple[Wait, ...]:
    """Single models first, since the first that matches holds."""
    waits = [Wait(entry["models"], entry["first_byte_s"] or 0, entry["idle_s"] or 0) for entry in row.model_waits]
    if row.first_byte_s or row.idle_s:
        waits.append(Wait("*", row.first_byte_s or 0, row.idle_s or 0))
    return tuple(waits)


def _seconds(value: object, field: str, words: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not LEAST_S <= value <= MOST_S:
        raise ValidationError({field: words})
    return value
