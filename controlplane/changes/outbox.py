"""The outbox's past: rows that nobody can need any more are forgotten, so that it grows with the configuration only.

The newest row of every resource stays for ever: what pods hold says at which revision it changed last, and every
replica has to say the same. Of what a resource went through before, replicas need as much as brings pods that are
behind up to date by deltas.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.utils import timezone

from controlplane.changes import queries
from controlplane.changes.models import ConfigChange

REMEMBERED = timedelta(days=30)  # for whoever asks how far a change has got
RECENT_REVISIONS = 20_000
ROWS_AT_A_TIME = 1000


def forget_superseded() -> int:
    """Deletes in small steps, since change sets go on meanwhile. Returns the number of rows."""
    later = ConfigChange.objects.filter(
        kind=OuterRef("kind"), resource_id=OuterRef("resource_id"), revision__gt=OuterRef("revision")
    )
    past = ConfigChange.objects.filter(
        Exists(later),
        committed_at__lt=timezone.now() - REMEMBERED,
        revision__lte=queries.head().revision - RECENT_REVISIONS,
    )
    forgotten = 0
    while rows := list(past.order_by("pk").values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
        forgotten += ConfigChange.objects.filter(pk__in=rows).delete()[0]
    return forgotten
