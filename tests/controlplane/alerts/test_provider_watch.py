"""A provider that refuses the organization's credential: told once an episode, over when it serves again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from controlplane.alerts import provider_watch
from controlplane.alerts.models import Alert, AlertState, DeliveryEvent, RuleKind
from controlplane.alerts.tasks import sweep
from controlplane.providers import actions
from controlplane.providers.models import Provider
from dataplane.core.secret import Secret
from tests.controlplane import factories as make
from tests.controlplane.alerts import world


def refuses(row: Provider, since: datetime | None = None, words: str = "401: invalid x-api-key") -> datetime:
    at = since or timezone.now()
    Provider.objects.filter(pk=row.pk).update(refused_since=at, last_error=words, last_error_at=at)
    return at


def serves(row: Provider) -> None:
    row.refresh_from_db()
    row.save(update_fields=row.mended(timezone.now()))


@pytest.fixture
def provider(organization) -> Provider:
    return make.provider(organization, name="anthropic")


def test_it_is_told_once_an_episode_and_its_end_too(organization, provider, sink):
    world.rule(organization, RuleKind.PROVIDER_REFUSED, world.pagerduty(organization, sink))
    assert provider_watch.look(timezone.now()) == 0
    since = refuses(provider)
    assert [provider_watch.look(timezone.now()) for _ in range(3)] == [1, 0, 0]
    alert = Alert.objects.get()
    assert alert.title == "anthropic refuses the organization's credential: 401: invalid x-api-key"
    assert (alert.subject, alert.happened_at, alert.ends_at) == (provider.pk, since, None)
    assert ["It says", "401: invalid x-api-key"] in alert.facts
    assert provider.credential_last4 in dict(alert.facts)["Credential"]
    assert provider_watch.end_mended() == 0
    serves(provider)
    assert [provider_watch.end_mended() for _ in range(2)] == [1, 0]
    alert.refresh_from_db()
    assert (alert.state, alert.resolution) == (
        AlertState.RESOLVED,
        "The provider serves again, or has another credential.",
    )
    events = alert.deliveries.values_list("event", flat=True).order_by("created_at")
    assert list(events) == [DeliveryEvent.TRIGGERED, DeliveryEvent.RESOLVED]
    refuses(provider)
    assert provider_watch.look(timezone.now()) == 1


def test_another_credential_and_a_provider_that_is_switched_off_end_it(organization, provider):
    world.rule(organization, RuleKind.PROVIDER_REFUSED)
    other = make.provider(organization)
    refuses(provider)
    refuses(other)
    assert provider_watch.look(timezone.now()) == 2
    provider.refresh_from_db()
    actions.set_credential(provider, by=make.SYSTEM, credential=Secret("sk-ant-api03-the-next-one-abcdefgh"))
    actions.update_provider(other, by=make.SYSTEM, enabled=False)
    assert provider_watch.end_mended() == 2
    assert provider_watch.look(timezone.now()) == 0
    assert set(Alert.objects.values_list("resolution", flat=True)) == {
        "The provider serves again, or has another credential.",
        "The provider is gone or off.",
    }


def test_a_new_episode_that_nobody_saw_the_end_before_ends_the_old_one(organization, provider):
    world.rule(organization, RuleKind.PROVIDER_REFUSED)
    refuses(provider, timezone.now() - timedelta(seconds=20))
    provider_watch.look(timezone.now())
    refuses(provider)
    assert provider_watch.look(timezone.now()) == 1
    assert provider_watch.end_mended() == 1
    assert Alert.objects.filter(state=AlertState.OPEN).count() == 1


def test_one_that_flickers_is_not_told_without_end(organization, provider):
    world.rule(organization, RuleKind.PROVIDER_REFUSED)
    now = timezone.now()
    for second in range(20):
        refuses(provider, now + timedelta(seconds=second))
        provider_watch.look(timezone.now())
    assert Alert.objects.count() == provider_watch.MOST_EPISODES
    assert provider_watch.look(timezone.now() + timedelta(hours=2)) == 1  # it still refuses: it is told


def test_a_rule_sees_its_own_organization_and_what_goes_on_since_it_was_made(organization, provider):
    foreign = make.provider()
    rule = world.rule(organization, RuleKind.PROVIDER_REFUSED)
    refuses(foreign)
    refuses(provider, rule.armed_at - timedelta(minutes=5))
    assert provider_watch.look(timezone.now()) == 0
    Provider.objects.filter(pk=provider.pk).update(last_error_at=timezone.now())
    assert provider_watch.look(timezone.now()) == 1
    assert [alert.subject for alert in Alert.objects.all()] == [provider.pk]


def test_the_sweep_looks(organization, provider):
    world.rule(organization, RuleKind.PROVIDER_REFUSED)
    refuses(provider)
    sweep()
    assert Alert.objects.get().state == AlertState.OPEN
    serves(provider)
    sweep()
    assert Alert.objects.get().state == AlertState.RESOLVED


def test_such_a_rule_watches_all_providers_and_says_so(organization, provider):
    with pytest.raises(ValidationError) as refused:
        world.rule(organization, RuleKind.PROVIDER_REFUSED, scope_id=provider.pk)
    assert "every provider" in refused.value.message_dict["scope_id"][0]
