"""Answers whose figures nobody has seen: their provider is asked for them, a few at a time, through the gate."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from controlplane.environment import environment
from controlplane.providers import gate, ssrf
from controlplane.providers.credentials import credential_of
from controlplane.providers.kinds import KINDS
from controlplane.providers.models import Provider
from controlplane.providers.vault import CannotUnseal
from controlplane.usage import corrections
from controlplane.usage.kept_models import KeptAnswer
from controlplane.usage.stored_figures import figures
from dataplane.core.snapshot import ProviderKind

log = logging.getLogger(__name__)

MOST_AT_A_TIME: Final = 20
# A minute, then twice as long each time, up to a day: sixteen questions in the life of an answer.
LONGEST: Final = timedelta(days=1)


def ask_providers() -> int:
    """Ask for what is due. Returns of how many the figures were booked."""
    now = timezone.now()
    return sum(_ask(kept) for kept in list(corrections.outstanding(now, MOST_AT_A_TIME)))


def _ask(kept: KeptAnswer) -> bool:
    """Never raises for what a provider or the network does."""
    again = timezone.now() + min(corrections.ASK_AFTER * 2 ** min(kept.questions, 16), LONGEST)
    if not KeptAnswer.objects.filter(pk=kept.pk, questions=kept.questions).update(
        questions=kept.questions + 1, ask_at=again
    ):
        return False  # another worker does
    answer = _answer(kept)
    if answer is None:
        return False
    if answer.status in (404, 410):
        KeptAnswer.objects.filter(pk=kept.pk).update(ask_at=None)  # it was not kept: what was held stays charged
        return False
    shown = figures(answer.body) if answer.status == 200 else None
    if shown is None:
        return False
    with transaction.atomic():
        locked = KeptAnswer.objects.select_for_update().get(pk=kept.pk)
        corrections.see(locked, *shown)
    return True


def _answer(kept: KeptAnswer) -> gate.Answer | None:
    provider = Provider.objects.filter(pk=kept.provider_id, organization=kept.organization_id, enabled=True).first()
    stored = KINDS[ProviderKind(provider.kind)].stored if provider is not None else None
    if provider is None or stored is None:
        return None
    try:
        url = ssrf.parse(provider.base_url, private_allowed=environment().allow_private_providers)
        return stored(provider, url, credential_of(provider), kept.object_id)
    except (ssrf.UnsafeUrl, gate.Unreachable, CannotUnseal, UnicodeDecodeError) as problem:
        log.warning("kept_answer_not_asked provider=%s problem=%s", kept.provider_id, type(problem).__name__)
        return None
