"""Deliveries: once each, also when broker or receiver was away; claims, waits, the end of patience, once more."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import OperationalError

from controlplane.alerts import deliveries, raising, tasks
from controlplane.alerts.channel_actions import update_channel
from controlplane.alerts.deliveries import LONGEST_WAIT_S, MOST_ATTEMPTS, deliver, wait_after
from controlplane.alerts.delivery_actions import redeliver
from controlplane.alerts.models import Alert, Delivery, DeliveryState, RuleKind
from controlplane.celery import app
from controlplane.changes.models import AuditEvent
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden
from tests.controlplane import factories as make
from tests.controlplane.alerts import world
from tests.controlplane.alerts.sinks import ROUTING_KEY, SIGNING_SECRET, SLACK_PATH

SYSTEM = make.SYSTEM


@pytest.fixture
def no_broker(monkeypatch):
    """Nobody hears the bell."""

    def away(*arguments: object, **options: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(app, "send_task", away)


def due_again() -> None:
    """Time passes until every waiting delivery is due."""
    Delivery.objects.filter(state=DeliveryState.WAITING).update(next_try_at=timezone.now() - timedelta(seconds=1))


def states(alert: Alert) -> set[str]:
    return set(alert.deliveries.values_list("state", flat=True))


def test_an_alert_reaches_all_four_kinds_once(organization, sink, mail):
    alert = world.alert(organization, *world.all_four(organization, sink))
    for delivery in world.deliveries(alert):
        assert deliver(delivery.pk)
        assert not deliver(delivery.pk)
    assert sorted(item["kind"] for item in sink.accepted) == ["pagerduty", "slack", "webhook"]
    assert len(mail.messages) == 1
    assert states(alert) == {"delivered"}


def test_what_each_receiver_is_told(organization, sink, mail):
    alert = world.alert(organization, *world.all_four(organization, sink))
    for delivery in world.deliveries(alert):
        deliver(delivery.pk)
    [slack], [page], [hook] = (sink.bodies(kind) for kind in ("slack", "pagerduty", "webhook"))
    assert "Grace Hopper is at 83 %" in slack["text"]
    assert "$83.00 of $100.00" in str(slack["blocks"])
    assert (page["dedup_key"], page["payload"]["severity"]) == (alert.pk, "warning")
    assert page["payload"]["custom_details"]["Budget"] == "Personal cap"
    assert f"/admin/alerts/alert/{alert.pk}/change/" in page["links"][0]["href"]
    assert (hook["type"], hook["data"]["budget_id"], hook["data"]["threshold"]) == ("alert.triggered", "bud_1", 80)
    [received] = [item for item in sink.accepted if item["kind"] == "webhook"]
    assert received["headers"]["x-langwatch-delivery"] == hook["id"]
    [message] = mail.messages
    assert message["Subject"].startswith("[AI Gateway] Warning: Grace Hopper is at 83 %")
    assert "Spent: $83.00 of $100.00" in message.get_content()


def test_a_title_cannot_write_headers_or_markup(organization, sink, mail):
    title = "<!channel> a\r\nBcc: evil@example.com & b"
    alert = world.alert(organization, *world.all_four(organization, sink), title=title)
    for delivery in world.deliveries(alert):
        assert deliver(delivery.pk)
    [message] = mail.messages
    assert message["Bcc"] is None
    [slack] = sink.bodies("slack")
    assert "<!channel>" not in str(slack)
    assert "&lt;!channel&gt;" in slack["text"]


def test_a_broker_that_is_away_loses_nothing(organization, sink, no_broker, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        alert = world.alert(organization, *world.all_four(organization, sink)[1:])
    assert sink.accepted == []
    tasks.sweep()
    tasks.sweep()
    assert sorted(item["kind"] for item in sink.accepted) == ["pagerduty", "slack", "webhook"]
    assert states(alert) == {"delivered"}


def test_a_receiver_that_was_down_is_told_once_when_it_is_back(organization, sink, mail, no_broker):
    alert = world.alert(organization, *world.all_four(organization, sink))
    sink.down, mail.refuse = 503, "421 away"
    for _ in range(3):
        tasks.sweep()
        due_again()
    assert (sink.accepted, mail.messages) == ([], [])
    assert {delivery.attempts for delivery in world.deliveries(alert)} == {3}
    sink.down, mail.refuse = 0, ""
    tasks.sweep()
    due_again()
    tasks.sweep()
    assert sorted(item["kind"] for item in sink.accepted) == ["pagerduty", "slack", "webhook"]
    assert len(mail.messages) == 1
    assert states(alert) == {"delivered"}


def test_a_receiver_that_is_not_there_at_all_is_waited_for(organization, sink, no_broker):
    from tests.controlplane.alerts.sinks import Sink, serving

    channel = world.webhook(organization, sink, address="http://127.0.0.1:9/hook")
    alert = world.alert(organization, channel)
    tasks.sweep()
    [delivery] = world.deliveries(alert)
    assert (delivery.state, delivery.message) == ("waiting", "127.0.0.1 could not be reached (ConnectError).")
    with serving(Sink()) as back:
        from controlplane.changes.change_set import change_set

        with change_set(SYSTEM):
            channel.address = f"{back.url}/hook"
            channel.save()
        due_again()
        tasks.sweep()
        assert len(back.bodies("webhook")) == 1


def test_every_try_carries_the_same_id(organization, sink, no_broker):
    world.alert(organization, world.webhook(organization, sink))
    [delivery] = Delivery.objects.all()
    tasks.sweep()
    redeliver(delivery, by=SYSTEM)
    tasks.sweep()
    first, second = sink.accepted
    assert first["headers"]["x-langwatch-delivery"] == second["headers"]["x-langwatch-delivery"] == delivery.pk


def test_two_workers_do_not_say_it_at_once(organization, sink, monkeypatch):
    world.alert(organization, world.webhook(organization, sink))
    [delivery] = Delivery.objects.all()
    said = deliveries._say

    def while_another_tries(row):
        assert not deliver(row.pk)
        return said(row)

    monkeypatch.setattr(deliveries, "_say", while_another_tries)
    assert deliver(delivery.pk)
    assert len(sink.accepted) == 1


def test_a_worker_that_dies_while_it_sends_leaves_it_to_the_next(organization, sink, monkeypatch, no_broker):
    world.alert(organization, world.webhook(organization, sink))
    [delivery] = Delivery.objects.all()
    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "_say", lambda row: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            deliver(delivery.pk)
    tasks.sweep()
    assert sink.accepted == []
    due_again()
    tasks.sweep()
    assert len(sink.accepted) == 1


def test_patience_ends_and_says_so(organization, sink, no_broker, caplog):
    alert = world.alert(organization, world.webhook(organization, sink))
    sink.down = 500
    for _ in range(MOST_ATTEMPTS + 2):
        tasks.sweep()
        due_again()
    [delivery] = world.deliveries(alert)
    assert (delivery.state, delivery.attempts, delivery.status) == ("dead", MOST_ATTEMPTS, 500)
    assert f"alert_delivery_dead delivery={delivery.pk}" in caplog.text
    sink.down = 0
    redeliver(delivery, by=SYSTEM)
    tasks.sweep()
    assert states(alert) == {"delivered"}
    assert AuditEvent.objects.filter(action="alert_delivery.sent_again", target_id=delivery.pk).count() == 1


def test_a_refusal_that_is_meant_is_not_repeated(organization, sink, no_broker):
    alert = world.alert(organization, world.slack(organization, sink))
    sink.down = 404
    tasks.sweep()
    assert states(alert) == {"dead"}
    assert len(sink.refused) == 1


def test_a_receiver_may_ask_for_time(organization, sink, no_broker):
    alert = world.alert(organization, world.slack(organization, sink))
    sink.down, sink.headers = 429, {"retry-after": "600"}
    tasks.sweep()
    [delivery] = world.deliveries(alert)
    assert delivery.next_try_at > timezone.now() + timedelta(seconds=590)


@given(st.integers(1, 1000), st.integers(0, 10**6), st.floats(0, 1))
def test_waits_double_within_bounds(attempts, asked, chance):
    wait = wait_after(attempts, asked, chance).total_seconds()
    assert 8 <= wait <= LONGEST_WAIT_S * 1.2
    assert wait >= min(asked, LONGEST_WAIT_S)
    assert wait_after(attempts + 1, asked, chance) >= wait_after(attempts, asked, chance)


def test_a_channel_that_was_turned_off_gets_nothing(organization, sink, no_broker):
    channel = world.webhook(organization, sink)
    alert = world.alert(organization, channel)
    update_channel(channel, by=SYSTEM, enabled=False)
    tasks.sweep()
    assert (sink.accepted, states(alert)) == ([], {"dead"})


def test_an_end_is_told_to_those_who_keep_incidents_after_its_beginning(organization, sink, mail, no_broker):
    alert = world.alert(organization, *world.all_four(organization, sink))
    sink.down = 503
    tasks.sweep()
    assert raising.end(alert, "Below 80 % again: $83.00 of $200.00.")
    assert not raising.end(alert, "twice")
    due_again()
    tasks.sweep()
    sink.down = 0
    for _ in range(4):
        due_again()
        tasks.sweep()
    pages, hooks = sink.bodies("pagerduty"), sink.bodies("webhook")
    assert [(page["event_action"], page["dedup_key"]) for page in pages] == [
        ("trigger", alert.pk),
        ("resolve", alert.pk),
    ]
    assert [hook["type"] for hook in hooks] == ["alert.triggered", "alert.resolved"]
    assert hooks[1]["facts"]["Over because"] == "Below 80 % again: $83.00 of $200.00."
    assert (len(sink.bodies("slack")), len(mail.messages)) == (1, 1)


def test_an_end_whose_beginning_was_given_up_is_not_told(organization, sink, no_broker):
    alert = world.alert(organization, world.pagerduty(organization, sink))
    sink.down = 400
    tasks.sweep()
    sink.down = 0
    raising.end(alert, "over")
    due_again()
    tasks.sweep()
    assert sink.accepted == []
    assert states(alert) == {"dead"}


def test_nothing_secret_is_in_deliveries_audit_or_log(organization, sink, no_broker, caplog):
    caplog.set_level(logging.DEBUG)
    canaries = (SLACK_PATH, ROUTING_KEY, SIGNING_SECRET)
    sink.body = " ".join(canaries).encode()
    for status in (0, 500, 400):
        sink.down = status
        world.alert(organization, world.slack(organization, sink))
        world.alert(organization, world.pagerduty(organization, sink))
        world.alert(organization, world.webhook(organization, sink))
        tasks.sweep()
    own = {"slack": SLACK_PATH, "pagerduty": ROUTING_KEY, "webhook": SIGNING_SECRET}
    for delivery in Delivery.objects.all():
        assert own[delivery.channel_kind] not in delivery.message
    for canary in canaries:
        assert canary not in caplog.text
        assert canary not in str(list(AuditEvent.objects.values()))
        assert canary not in str(list(Alert.objects.values()))


def test_only_those_who_may_send_it_again(organization, sink):
    world.alert(organization, world.webhook(organization, sink))
    [delivery] = Delivery.objects.all()
    viewer, _ = make.member(organization, Role.VIEWER)
    with pytest.raises(Forbidden):
        redeliver(delivery, by=viewer)


def test_what_is_being_sent_is_not_sent_again(organization, sink, monkeypatch):
    world.alert(organization, world.webhook(organization, sink))
    [delivery] = Delivery.objects.all()
    said = deliveries._say

    def impatient(row):
        with pytest.raises(ValidationError, match="at this moment"):
            redeliver(row, by=SYSTEM)
        return said(row)

    monkeypatch.setattr(deliveries, "_say", impatient)
    assert deliver(delivery.pk)


def test_the_same_alert_found_by_two_sweeps_at_once_is_one(organization, sink, in_threads):
    rule = world.rule(organization, RuleKind.UNPRICED_MODEL, world.webhook(organization, sink))
    occurrence = raising.Occurrence(
        subject_kind="model", subject="m", window_key="day:1", title="t", happened_at=timezone.now()
    )
    made = in_threads(lambda _: raising.begin(rule, occurrence), [1, 2, 3, 4])
    assert sum(alert is not None for alert in made) == 1
    assert (Alert.objects.count(), Delivery.objects.count()) == (1, 1)
    connection.close()


def test_old_alerts_are_forgotten_with_their_deliveries(organization, sink):
    old, new = (world.alert(organization, world.webhook(organization, sink)) for _ in range(2))
    for alert in (old, new):
        raising.end(alert, "over")
    Alert.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=4000))
    assert raising.forget_old(timezone.now()) == 3
    assert list(Alert.objects.values_list("pk", flat=True)) == [new.pk]
