"""The audit: what it says, what it never says, and that an edit of it shows."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from controlplane.changes import audit
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.changes.models import AppendOnly, AuditEvent
from controlplane.changes.tasks import verify_audit
from controlplane.keys import actions as keys
from controlplane.providers import actions as providers
from controlplane.tenancy import actions as tenancy
from dataplane.core.secret import Secret
from tests.controlplane import factories

SYSTEM = Actor.system("tests")


def test_an_event_says_who_did_what_to_which_object_and_what_differs(db):
    organization = factories.organization(contact="old@example.com")
    user = factories.user(username="ada", is_superuser=True)
    tenancy.update_organization(organization, by=Actor.of_user(user, "192.0.2.7"), contact="new@example.com")
    event = AuditEvent.objects.latest("pk")
    assert (event.actor_kind, event.actor_id, event.actor_label) == ("user", str(user.pk), "ada")
    assert event.address == "192.0.2.7"
    assert (event.action, event.target_kind, event.target_id) == (
        "organization.updated",
        "organization",
        organization.pk,
    )
    assert event.target_label == organization.name
    assert (event.before, event.after) == ({"contact": "old@example.com"}, {"contact": "new@example.com"})
    assert event.organization_id == organization.pk


def test_an_action_is_one_event_about_one_object(db):
    key = factories.key()
    before = AuditEvent.objects.count()
    keys.rotate(key, by=SYSTEM)
    events = list(AuditEvent.objects.order_by("pk")[before:])
    assert [event.action for event in events] == ["virtual_key.rotated"]
    assert events[0].details == {"grace_s": 86400, "cut": False}
    assert events[0].after["public_id"] == key.public_id


def test_no_secret_sealed_digested_or_plain_is_in_any_event(db):
    credential = "sk-ant-api03-canary-credential-0001"
    key, token = factories.key_and_token()
    provider = factories.provider(credential=Secret(credential))
    providers.set_credential(provider, by=SYSTEM, credential=Secret(credential + "-2"))
    row, api_token = tenancy.mint_token(by=SYSTEM, organization=key.organization, name="ci")
    rotated = keys.rotate(key, by=SYSTEM)
    everything = str(list(AuditEvent.objects.values()))
    for secret in (credential, *(s.reveal().decode() for s in (token, api_token, rotated))):
        assert secret not in everything
    for digest in (bytes(row.digest), *(bytes(s.digest) for s in key.secrets.all()), bytes(provider.credential_sealed)):
        assert digest.hex() not in everything
    assert "credential_sealed" not in everything
    assert provider.credential_last4 in everything


def test_each_organization_has_a_chain_of_its_own(db):
    one, two = factories.organization(), factories.organization()
    for organization in (one, two, one):
        tenancy.update_organization(organization, by=SYSTEM, contact=f"{AuditEvent.objects.count()}@example.com")
    assert list(AuditEvent.objects.filter(organization_id=one.pk).order_by("pk").values_list("seq", flat=True)) == [
        1,
        2,
        3,
    ]
    assert list(AuditEvent.objects.filter(organization_id=two.pk).order_by("pk").values_list("seq", flat=True)) == [
        1,
        2,
    ]
    assert audit.verify(one.pk) is None
    assert audit.verify(two.pk) is None
    first, second = AuditEvent.objects.filter(organization_id=two.pk).order_by("seq")
    assert second.previous_hash == first.hash != second.hash


def _chain() -> tuple[str, list[AuditEvent]]:
    organization = factories.organization(contact="0@example.com")
    for number in range(1, 5):
        tenancy.update_organization(organization, by=SYSTEM, contact=f"{number}@example.com")
    return organization.pk, list(AuditEvent.objects.filter(organization_id=organization.pk).order_by("seq"))


def _sql(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE changes_auditevent DISABLE TRIGGER USER")
        cursor.execute(statement, parameters)
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE changes_auditevent ENABLE TRIGGER USER")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor_label", "somebody else"),
        ("actor_id", "1"),
        ("action", "organization.viewed"),
        ("address", "203.0.113.9"),
        ("target_id", "org_other"),
        ("before", '{"contact": "forged@example.com"}'),
        ("after", '{"contact": "forged@example.com"}'),
        ("details", '{"x": 1}'),
        ("revision", 99),
        ("at", "2020-01-01 00:00:00+00:00"),
        ("previous_hash", "0" * 64),
        ("hash", "0" * 64),
    ],
)
def test_an_edited_event_breaks_its_chain_where_it_was_edited(db, column, value):
    organization, events = _chain()
    _sql(f"UPDATE changes_auditevent SET {column} = %s WHERE id = %s", value, events[2].pk)
    broken = audit.verify(organization)
    assert broken is not None
    assert broken.seq == 3


def test_an_edited_event_whose_hash_was_made_anew_is_found_by_its_successor(db):
    organization, events = _chain()
    events[2].actor_label = "somebody else"
    _sql(
        "UPDATE changes_auditevent SET actor_label = %s, hash = %s WHERE id = %s",
        "somebody else",
        audit.hash_of(events[2]),
        events[2].pk,
    )
    assert audit.verify(organization) == audit.Broken(organization, 4, "it does not follow the event before it")


def test_a_deleted_event_leaves_a_hole(db):
    organization, events = _chain()
    _sql("DELETE FROM changes_auditevent WHERE id = %s", events[1].pk)
    assert audit.verify(organization) == audit.Broken(organization, 2, "an event is missing here")


def test_two_events_that_trade_places_are_found(db):
    organization, events = _chain()
    for seq, event in ((90, events[1]), (2, events[2]), (3, events[1])):
        _sql("UPDATE changes_auditevent SET seq = %s WHERE id = %s", seq, event.pk)
    broken = audit.verify(organization)
    assert broken is not None
    assert broken.seq == 2


def test_a_cut_off_end_shows_only_against_a_head_that_was_kept(db):
    organization, events = _chain()
    kept = {head.organization_id: head for head in audit.heads()}[organization]
    _sql("DELETE FROM changes_auditevent WHERE id = %s", events[-1].pk)
    assert audit.verify(organization) is None
    assert {head.organization_id: head for head in audit.heads()}[organization] != kept


def test_the_command_prints_heads_and_fails_on_a_broken_chain(db):
    organization, events = _chain()
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert f"{organization}: 5 events, head {events[-1].hash}" in out.getvalue()
    _sql("UPDATE changes_auditevent SET actor_label = 'x' WHERE id = %s", events[2].pk)
    with pytest.raises(CommandError, match=f"{organization}: event 3"):
        call_command("verify_audit", stdout=StringIO())


def test_a_broken_chain_is_an_error_in_the_log_every_day(db, caplog):
    organization, events = _chain()
    assert verify_audit() == 0
    _sql("UPDATE changes_auditevent SET actor_label = 'x' WHERE id = %s", events[2].pk)
    assert verify_audit() == 1
    assert f"audit_chain_broken organization={organization} event=3" in caplog.text


def test_events_are_neither_changed_nor_deleted(db):
    factories.organization()
    event = AuditEvent.objects.latest("pk")
    for write in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(action="x"),
    ):
        with pytest.raises(AppendOnly):
            write()


def test_a_set_of_changes_without_words_still_names_each_object(db):
    organization = factories.organization()
    before = AuditEvent.objects.count()
    with change_set(SYSTEM):
        organization.contact = "x@example.com"
        organization.save()
    assert [event.action for event in AuditEvent.objects.order_by("pk")[before:]] == ["organization.updated"]
