"""Whose a figure is, and why, in words: the one place that says which figures are the provider's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataplane.core.usage import UsageSource, Why

# Something is owed, and the provider has not said what.
UNCONFIRMED: Final = frozenset({UsageSource.METERED.value, UsageSource.ESTIMATED.value, UsageSource.HELD.value})

SOURCES: Final[Mapping[str, str]] = {
    UsageSource.PROVIDER.value: "the provider's own count",
    UsageSource.METERED.value: "metered by the pod, from what it saw",
    UsageSource.ESTIMATED.value: "estimated",
    UsageSource.HELD.value: "charged with what was held",
    UsageSource.NONE.value: "nothing was used",
}
REASONS: Final[Mapping[str, str]] = {
    Why.NO_FIGURES.value: "the provider told no figures that can be true",
    Why.NOT_COUNTS.value: "the provider told something else than numbers",
    Why.IMPLAUSIBLE.value: "no answer of this kind can have used what the provider told",
    Why.UNREAD.value: "the answer could not be read",
    Why.CLIENT_GONE.value: "the client hung up before the provider's figures",
    Why.CUT.value: "we ended the answer before the provider's figures",
    Why.BROKEN.value: "the provider broke off before its figures",
    Why.NO_ANSWER.value: "the provider had the request and did not answer",
    Why.RUNS_ON.value: "a background job: its figures are booked when they are seen",
    Why.END_UNSEEN.value: "no pod reported how it ended",
}


def whose(source: str, why: str) -> str:
    """The two together, for people."""
    words = SOURCES.get(source, source)
    return f"{words}: {REASONS.get(why, why)}" if why else words
