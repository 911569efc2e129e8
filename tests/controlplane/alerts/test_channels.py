"""Each channel against a receiver that checks as the real one does; what is sealed, refused, never shown."""

from __future__ import annotations

import logging
import socket
import traceback

import pytest
from django.core.exceptions import ValidationError

from controlplane.alerts import channel_actions as actions
from controlplane.alerts import sealed
from controlplane.alerts.channels import CHANNELS
from controlplane.alerts.channels.channel import DeliveryOutcome, checked_url, post
from controlplane.alerts.models import AlertRule, Channel, ChannelKind, RuleKind
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.changes.queries import head
from controlplane.environment import environment
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden, NoSuchObject
from dataplane.core.secret import Secret
from tests.controlplane import factories as make
from tests.controlplane.alerts import world
from tests.controlplane.alerts.sinks import ROUTING_KEY, SIGNING_SECRET, SLACK_PATH

SYSTEM = make.SYSTEM
CANARIES = (SLACK_PATH, SLACK_PATH.rpartition("/")[2], ROUTING_KEY, SIGNING_SECRET)


def test_every_kind_of_channel_has_one_slice():
    assert set(CHANNELS) == set(ChannelKind.values)


def test_a_test_reaches_each_kind_of_receiver(organization, sink, mail):
    for channel in world.all_four(organization, sink):
        outcome = actions.test_channel(channel, by=SYSTEM)
        assert outcome.ok, (channel.kind, outcome)
        channel.refresh_from_db()
        assert (channel.last_test_ok, channel.last_test_message) == (True, outcome.message)
    assert [item["kind"] for item in sink.accepted] == ["slack", "pagerduty", "pagerduty", "webhook"]
    trigger, resolve = sink.bodies("pagerduty")
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["severity"] == "info"
    [message] = mail.messages
    assert "This is a test of" in str(message["Subject"])
    assert mail.recipients == [["oncall@example.com", "finance@example.com"]]


@pytest.mark.parametrize("status", [0, 302, 400, 503])
def test_of_a_receivers_answer_only_the_status_is_shown(organization, sink, status):
    sink.down, sink.body = status, b"canary of an internal service"
    for channel in (world.slack, world.pagerduty, world.webhook):
        row = channel(organization, sink)
        outcome = actions.test_channel(row, by=SYSTEM)
        row.refresh_from_db()
        assert outcome.ok is (status == 0)
        assert str(status or 20) in outcome.message
        assert "canary" not in f"{outcome} {row.last_test_message} {list(AuditEvent.objects.values())}"


@pytest.mark.usefixtures("private_allowed")
def test_private_receivers_have_a_switch_of_their_own(monkeypatch):
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "true")
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS", "false")
    environment.cache_clear()
    for url in ("http://127.0.0.1:9/", "https://10.0.0.1/", "https://[fd12::1]/"):
        with pytest.raises(ValidationError, match="AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS"):
            checked_url(url, "address")
        refused = post(url, b"{}", {}, secrets=())
        assert isinstance(refused, DeliveryOutcome)
        assert "AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS" in refused.message
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS", "true")
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "false")
    environment.cache_clear()
    assert str(checked_url("http://127.0.0.1:9/", "address")) == "http://127.0.0.1:9"
    with pytest.raises(ValidationError):
        checked_url("http://169.254.169.254/", "address")


def test_a_name_of_a_private_address_is_not_posted_to_by_the_providers_switch(organization, sink, monkeypatch):
    row = world.webhook(organization, sink)
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS", "false")
    environment.cache_clear()
    outcome = actions.test_channel(row, by=SYSTEM)
    assert not outcome.ok
    assert sink.accepted == []


def test_a_redirect_is_not_followed(organization, sink):
    sink.down, sink.headers = 302, {"location": f"{sink.url}/elsewhere"}
    outcome = actions.test_channel(world.webhook(organization, sink), by=SYSTEM)
    assert "not followed" in outcome.message
    assert len(sink.refused) == 1


def test_what_a_receiver_echoes_of_a_secret_is_in_no_row_audit_or_log(organization, sink, caplog):
    """A receiver that throws everything back, as debugging endpoints do."""
    caplog.set_level(logging.DEBUG)
    sink.down, sink.body = 500, " ".join(CANARIES).encode() * 50
    for channel in world.all_four(organization, sink)[1:]:
        actions.test_channel(channel, by=SYSTEM)
    own = {"slack": CANARIES[:2], "pagerduty": (ROUTING_KEY,), "webhook": (SIGNING_SECRET,)}
    for channel in Channel.objects.exclude(kind="email"):
        for canary in own[channel.kind]:
            assert canary not in channel.last_test_message
    for canary in CANARIES:
        assert canary.encode() not in b"".join(bytes(row.secret_sealed or b"") for row in Channel.objects.all())
        assert canary not in caplog.text
    assert SIGNING_SECRET not in str([event.after for event in AuditEvent.objects.all()])
    assert "secret_sealed" not in str([event.after for event in AuditEvent.objects.all()])


# ---- addresses ----


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://127.0.0.1:9/hook",
        "https://10.0.0.1/hook",
        "http://example.com/hook",
        "https://user:pw@example.com/hook",
        "https://metadata.google.internal/x",
        "https://[::1]/hook",
        "file:///etc/passwd",
    ],
)
def test_an_address_inside_is_refused_when_it_is_entered(organization, url):
    for kind, fields in (
        (ChannelKind.WEBHOOK, {"address": url, "secret": Secret(SIGNING_SECRET)}),
        (ChannelKind.SLACK, {"secret": Secret(url)}),
        (ChannelKind.PAGERDUTY, {"address": url, "secret": Secret(ROUTING_KEY)}),
    ):
        with pytest.raises(ValidationError):
            actions.create_channel(by=SYSTEM, organization=organization, name="x", kind=kind, **fields)


def test_a_name_that_means_an_inside_address_is_not_connected_to(organization, sink, monkeypatch):
    """Entered as a name that is fine; by the time of sending it means the cloud's metadata."""
    channel = world.webhook(organization, sink, address=f"http://rebinding.example:{sink.server_port}/hook")
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        return real("169.254.169.254" if host == "rebinding.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = actions.test_channel(channel, by=SYSTEM)
    assert not outcome.ok
    assert "metadata" in outcome.message
    assert (sink.accepted, sink.refused) == ([], [])


def test_the_address_that_was_checked_is_the_one_connected_to(organization, sink, monkeypatch):
    channel = world.webhook(organization, sink, address=f"http://rebinding.example:{sink.server_port}/hook")
    answers = iter(["127.0.0.1", "169.254.169.254"])
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        return real(next(answers) if host == "rebinding.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert actions.test_channel(channel, by=SYSTEM).ok
    assert next(answers) == "169.254.169.254"


# ---- what is stored ----


def test_secrets_are_sealed_in_their_row_and_opened_only_there(organization, sink):
    channel, other = world.webhook(organization, sink), world.webhook(organization, sink)
    assert sealed.secret_of(channel) == Secret(SIGNING_SECRET)
    assert SIGNING_SECRET.encode() not in bytes(channel.secret_sealed or b"")
    other.secret_sealed = channel.secret_sealed
    with pytest.raises(Exception, match="altered or moved"):
        sealed.secret_of(other)
    assert channel.secret_last4 == SIGNING_SECRET[-4:]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ChannelKind.EMAIL, {"address": ""}),
        (ChannelKind.EMAIL, {"address": "not an address"}),
        (ChannelKind.EMAIL, {"address": "a@example.com\nBcc: b@example.com"}),
        (ChannelKind.EMAIL, {"address": "a@example.com", "secret": Secret("x")}),
        (ChannelKind.WEBHOOK, {"address": "https://example.com/hook", "secret": Secret("short")}),
        (ChannelKind.WEBHOOK, {"address": "https://example.com/hook"}),
        (ChannelKind.PAGERDUTY, {"secret": Secret("not a key")}),
        (ChannelKind.SLACK, {"secret": Secret("hello")}),
        (ChannelKind.SLACK, {"secret": Secret("h" * 5000)}),
    ],
)
def test_what_cannot_work_is_refused_in_words(organization, kind, fields):
    with pytest.raises(ValidationError) as refused:
        actions.create_channel(by=SYSTEM, organization=organization, name="x", kind=kind, **fields)
    assert set(refused.value.message_dict) <= {"address", "secret"}
    assert not Channel.objects.exists()


def test_a_stored_secret_is_not_sent_to_another_address(organization, sink):
    """Else whoever may change a channel could have it read aloud at an address of their own."""
    channel = world.pagerduty(organization, sink)
    with pytest.raises(ValidationError, match="another address"):
        actions.update_channel(channel, by=SYSTEM, address="https://example.com")
    actions.update_channel(channel, by=SYSTEM, name="on-call", address=sink.url)
    changed = actions.update_channel(channel, by=SYSTEM, address="https://example.com", secret=Secret("a" * 32))
    assert (changed.name, changed.address) == ("on-call", "https://example.com")


def test_a_channel_in_use_is_not_deleted(organization, sink):
    channel = world.webhook(organization, sink)
    rule = world.rule(organization, RuleKind.UNPRICED_MODEL, channel)
    with pytest.raises(ValidationError, match=rule.name):
        actions.delete_channel(channel, by=SYSTEM)
    from controlplane.alerts import rule_actions

    rule_actions.delete_rule(rule, by=SYSTEM)
    actions.delete_channel(channel, by=SYSTEM)
    assert not Channel.objects.exists()
    assert not AlertRule.objects.exists()
    deeds = list(
        AuditEvent.objects.filter(target_kind__startswith="alert").order_by("pk").values_list("action", flat=True)
    )
    assert deeds[0] == "alert_channel.created"
    assert deeds[-2:] == ["alert_rule.deleted", "alert_channel.deleted"]


def test_no_change_of_a_channel_is_pushed_to_pods(organization, sink):
    before = head().revision
    actions.test_channel(world.webhook(organization, sink), by=SYSTEM)
    assert head().revision == before
    assert not ConfigChange.objects.filter(kind="alert_channel").exists()


def test_secrets_follow_the_root_key(organization, sink, monkeypatch):
    import base64
    import os

    from controlplane.environment import ConfigurationError, environment

    channel = world.webhook(organization, sink)
    old = os.environ["AIGATEWAY_ROOT_KEYS"]
    new = base64.b64encode(os.urandom(32)).decode()
    monkeypatch.setenv("AIGATEWAY_ROOT_KEYS", f"2:{new}")
    environment.cache_clear()
    with pytest.raises(ConfigurationError, match="version 1"):
        sealed.check_roots()
    monkeypatch.setenv("AIGATEWAY_ROOT_KEYS", f"1:{new}")
    environment.cache_clear()
    with pytest.raises(ConfigurationError, match="given as version 1 is not the one"):
        sealed.check_roots()
    monkeypatch.setenv("AIGATEWAY_ROOT_KEYS", f"2:{new},{old}")
    environment.cache_clear()
    assert actions.rewrap_secrets(by=SYSTEM) == 1
    channel.refresh_from_db()
    assert sealed.secret_of(channel) == Secret(SIGNING_SECRET)
    sealed.check_roots()


# ---- who ----


def test_who_may_do_what(organization, sink):
    channel = world.webhook(organization, sink)
    viewer, _ = make.member(organization, Role.VIEWER)
    admin, _ = make.member(organization, Role.ADMIN)
    stranger, _ = make.member(make.organization(), Role.OWNER)
    for by, refusal in ((viewer, Forbidden), (stranger, NoSuchObject)):
        for deed in (
            lambda by: actions.update_channel(channel, by=by, name="y"),
            lambda by: actions.delete_channel(channel, by=by),
            lambda by: actions.test_channel(channel, by=by),
        ):
            with pytest.raises(refusal):
                deed(by)
    assert sink.accepted == []
    assert actions.test_channel(channel, by=admin).ok


def test_without_a_mail_server_the_words_say_who_sets_one(organization, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    outcome = actions.test_channel(world.email(organization), by=SYSTEM)
    assert not outcome.ok
    assert "AIGATEWAY_SMTP_URL" in outcome.message


def test_a_mail_server_that_refuses_is_told_in_words(organization, mail):
    mail.refuse = "451 later"
    outcome = actions.test_channel(world.email(organization), by=SYSTEM)
    assert (outcome.ok, outcome.message) == (False, "The mail server refuses the message (451).")


def test_an_error_of_a_channel_says_nothing_secret(organization, sink, caplog, monkeypatch):
    """Not even the traceback of a defect."""
    channel = world.slack(organization, sink)

    def broken(*arguments: object, **named: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("controlplane.providers.gate.call", broken)
    with pytest.raises(RuntimeError) as raised:
        actions.test_channel(channel, by=SYSTEM)
    assert SLACK_PATH not in "".join(traceback.format_exception(raised.value))
