"""What records say of providers: the row's state follows the last word, is written when it changes, and only by its own
organization's records."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from controlplane.changes.models import AuditEvent
from controlplane.changes.queries import head
from controlplane.providers import actions
from controlplane.providers.models import Provider
from controlplane.usage.models import UsageRecord
from dataplane.core.secret import Secret
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.usage.records import AT_MS, admitted, booked, record

pytestmark = pytest.mark.django_db
SECOND = 1000
WORDS = "401: invalid x-api-key"
_numbers = itertools.count(1)


def when(after_s: float) -> datetime:
    return datetime.fromtimestamp(AT_MS / 1000 + after_s, UTC)


def served(of: Provider, after_s: float = 0, **fields: Any) -> wire.UsageRecord:
    given = {
        "organization_id": of.organization_id,
        "provider_id": of.pk,
        "started_at_ms": AT_MS + int(after_s * SECOND),
    }
    return record(f"req_{next(_numbers)}", **given | fields)


def refused(of: Provider, after_s: float = 0, **fields: Any) -> wire.UsageRecord:
    given = {
        "outcome": "provider_error",
        "refusal_code": "provider_credential_refused",
        "http_status": 502,
        "source": wire.USAGE_SOURCE_NONE,
        "units": {},
        "cost_nano": 0,
        "provider_error": WORDS,
    }
    return served(of, after_s, **given | fields)


def state(of: Provider) -> tuple[datetime | None, str, datetime | None]:
    of.refresh_from_db()
    return of.refused_since, of.last_error, of.last_error_at


FINE = (None, "", None)


@pytest.fixture
def provider() -> Provider:
    return factories.provider()


def test_a_refusal_is_on_the_row_from_its_first_request_on(provider):
    booked(served(provider))
    assert state(provider) == FINE
    booked(refused(provider, 1), refused(provider, 2), first=2)
    assert state(provider) == (when(2), WORDS, when(2))
    booked(refused(provider, 3, provider_error="402"), first=4)
    assert state(provider) == (when(2), "402", when(3))
    assert UsageRecord.objects.filter(outcome="provider_error").count() == 3


def test_the_next_success_ends_it(provider):
    booked(refused(provider, 1))
    booked(served(provider, 2), first=2)
    assert state(provider) == FINE
    booked(refused(provider, 3), first=3)
    assert state(provider) == (when(3), WORDS, when(3))


@pytest.mark.parametrize(
    "other",
    [
        {"outcome": "provider_error", "http_status": 403},
        {"outcome": "client_gone"},
        {"outcome": "failed"},
        {"outcome": "refused", "refusal_code": "budget_exceeded"},
        {"source": wire.USAGE_SOURCE_NONE, "units": {}},  # a count of tokens, which needs no working account
    ],
)
def test_what_is_no_success_ends_nothing_and_begins_nothing(provider, other):
    booked(served(provider, 1, **other))
    assert state(provider) == FINE
    booked(refused(provider, 2), served(provider, 3, **other), first=2)
    assert state(provider) == (when(2), WORDS, when(2))


def test_whatever_the_order_the_last_word_holds(provider):
    said = [refused(provider, 1), served(provider, 2), refused(provider, 3), served(provider, 4)]
    for order in itertools.permutations(said):
        for place, each in enumerate(order):
            booked(each, first=place + 1, session=f"{next(_numbers)}")
        assert state(provider) == FINE, [each.started_at_ms - AT_MS for each in order]
        UsageRecord.objects.all().delete()
        Provider.objects.filter(pk=provider.pk).update(mended_at=None)
    booked(*said[:3], first=9)
    assert state(provider) == (when(3), WORDS, when(3))


def test_a_batch_that_comes_again_or_late_changes_nothing(provider):
    early, late = refused(provider, 1), served(provider, 2)
    booked(early)
    booked(late, first=2)
    booked(early, late, early)
    assert state(provider) == FINE
    booked(refused(provider, 1.5), first=3)  # of a spool that was found later
    assert state(provider) == FINE


def test_an_admission_says_nothing_and_its_end_does(provider):
    end = refused(provider, 1)
    booked(admitted(end.request_id, organization_id=provider.organization_id, provider_id=provider.pk))
    assert state(provider) == FINE
    booked(end, first=2)
    assert state(provider) == (when(1), WORDS, when(1))


def test_records_of_another_organization_touch_nothing(provider):
    foreign = factories.organization()
    booked(refused(provider, 1, organization_id=foreign.pk), refused(provider, 1, organization_id=""))
    assert state(provider) == FINE
    booked(refused(provider, 2), first=3)
    booked(served(provider, 3, organization_id=foreign.pk), first=4)
    assert state(provider) == (when(2), WORDS, when(2))


def test_it_is_written_when_it_changes_and_seldom_while_it_lasts(provider):
    def writes(*records: wire.UsageRecord, first: int) -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            booked(*records, first=first)
        return sum('UPDATE "providers_provider"' in query["sql"] for query in queries)

    assert writes(*[served(provider, second) for second in range(20)], first=1) == 0
    assert writes(*[refused(provider, 30 + second) for second in range(20)], first=21) == 1
    assert writes(*[refused(provider, 50 + second) for second in range(20)], first=41) == 0
    assert writes(refused(provider, 200), first=61) == 1
    assert writes(*[served(provider, 300 + second) for second in range(20)], first=62) == 1
    assert writes(*[served(provider, 400 + second) for second in range(20)], first=82) == 0


def test_it_is_a_state_and_no_change_of_the_configuration(provider):
    before, revision, updated = AuditEvent.objects.count(), head(), provider.updated_at
    booked(refused(provider, 1), served(provider, 2))
    booked(refused(provider, 3), first=3)
    provider.refresh_from_db()
    assert (AuditEvent.objects.count(), head(), provider.updated_at) == (before, revision, updated)


def test_another_credential_ends_it_and_what_was_asked_before_says_nothing(provider):
    now = timezone.now()
    before = (now - timedelta(seconds=5)).timestamp() - AT_MS / 1000
    booked(refused(provider, before - 1))
    assert state(provider)[0] is not None
    actions.set_credential(provider, by=factories.SYSTEM, credential=Secret("sk-ant-api03-the-next-one-abcdefgh"))
    assert state(provider) == FINE
    booked(refused(provider, before), first=2)  # it was on its way
    assert state(provider) == FINE
    after = (timezone.now() + timedelta(seconds=1)).timestamp() - AT_MS / 1000
    booked(refused(provider, after), first=3)
    assert state(provider)[0] is not None


def test_a_clock_that_is_ahead_keeps_nothing_open_for_ever(provider):
    year = 365 * 24 * 3600
    booked(refused(provider, year))
    since, _, at = state(provider)
    assert since == at
    assert at is not None
    assert at <= timezone.now()
    now = timezone.now().timestamp() - AT_MS / 1000
    booked(served(provider, now + 1), first=2)
    assert state(provider) == FINE


def test_a_pod_that_gives_no_words_leaves_no_blank(provider):
    booked(refused(provider, 1, provider_error=""))
    assert state(provider)[1] == "no reason given"


def test_long_and_odd_words_are_cut_to_what_a_row_takes(provider):
    booked(refused(provider, 1, provider_error="401: a\0b\n" + "ä" * 5_000))
    _, words, _ = state(provider)
    assert words.startswith("401: a b ")
    assert len(words) == 320
