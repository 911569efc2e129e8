"""What a program can rely on: rules, channels, alerts and deliveries over REST."""

from __future__ import annotations

import pytest

from controlplane.alerts.deliveries import deliver
from controlplane.alerts.models import Channel
from controlplane.tenancy.models import Role
from tests.controlplane.alerts import world
from tests.controlplane.alerts.sinks import ROUTING_KEY, SIGNING_SECRET
from tests.controlplane.rest.program import Api


@pytest.fixture
def api(organization) -> Api:
    return Api(organization)


def test_a_program_sets_up_paging_in_two_calls(api, organization, sink):
    channel = api.post(
        "alert-channels",
        {
            "organization_id": organization.pk,
            "name": "On-call",
            "kind": "pagerduty",
            "address": sink.url,
            "secret": ROUTING_KEY,
        },
    )
    assert channel.status_code == 201, channel.json()
    assert ROUTING_KEY not in channel.content.decode()
    assert channel.json()["secret_last4"] == ROUTING_KEY[-4:]
    rule = api.post(
        "alert-rules",
        {
            "organization_id": organization.pk,
            "name": "Page on-call at 80 % of a personal cap",
            "kind": "budget_threshold",
            "severity": "critical",
            "channels": [channel.json()["id"]],
            "about": "person",
            "window": "month",
            "threshold": 80,
        },
    )
    assert rule.status_code == 201, rule.json()
    shown = api.get(f"alert-rules/{rule.json()['id']}").json()
    assert (shown["about"], shown["window"], shown["threshold"], shown["enabled"]) == ("person", "month", 80, True)
    tested = api.post(f"alert-channels/{channel.json()['id']}/test")
    assert (tested.status_code, tested.json()["ok"]) == (200, True)
    assert len(sink.bodies("pagerduty")) == 2


def test_a_test_that_fails_is_an_answer_not_an_error(api, organization, sink):
    sink.down = 500
    tested = api.post(f"alert-channels/{world.webhook(organization, sink).pk}/test")
    assert (tested.status_code, tested.json()["ok"]) == (200, False)
    assert "Refused (500)" in tested.json()["message"]


def test_alerts_and_deliveries_are_read_and_sent_again(api, organization, sink):
    alert = world.alert(organization, world.webhook(organization, sink))
    [shown] = api.get("alerts", state="open").json()["data"]
    assert (shown["id"], shown["title"], shown["state"]) == (alert.pk, alert.title, "open")
    assert shown["details"]["budget_id"] == "bud_1"
    [delivery] = api.get("alert-deliveries", alert_id=alert.pk).json()["data"]
    assert (delivery["state"], delivery["attempts"]) == ("waiting", 0)
    assert deliver(delivery["id"])
    again = api.post(f"alert-deliveries/{delivery['id']}/redeliver")
    assert (again.status_code, again.json()["state"]) == (200, "waiting")
    assert SIGNING_SECRET not in again.content.decode()
    assert deliver(delivery["id"])
    assert len(sink.bodies("webhook")) == 2


def test_changes_and_removals(api, organization, sink):
    channel = world.webhook(organization, sink)
    path = f"alert-channels/{channel.pk}"
    assert api.patch(path, {"enabled": False}).json()["enabled"] is False
    refused = api.patch(path, {"address": "https://example.com/elsewhere"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "secret")
    rule = api.post(
        "alert-rules",
        {
            "organization_id": organization.pk,
            "name": "Pace",
            "kind": "spend_velocity",
            "factor": "3.5",
            "floor_nano": 10**9,
            "channels": [channel.pk],
        },
    ).json()
    assert (rule["factor"], rule["floor_nano"]) == ("3.50", 10**9)
    assert api.patch(f"alert-rules/{rule['id']}", {"factor": "6"}).json()["factor"] == "6.00"
    in_use = api.delete(path)
    assert (in_use.status_code, "Pace" in in_use.json()["errors"][0]["message"]) == (422, True)
    assert api.delete(f"alert-rules/{rule['id']}").status_code == 204
    assert api.delete(path).status_code == 204
    assert not Channel.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"threshold": 0}, "threshold"),
        ({"window": "fortnight"}, "window"),
        ({"channels": ["chan_of_somebody_else"]}, "channels"),
        ({"factor": "1"}, "factor"),
        ({"about": "everybody"}, "about"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_not_right_is_said_at_its_field(api, organization, body, field):
    given = {"organization_id": organization.pk, "name": "x", "kind": "budget_threshold"} | body
    answer = api.post("alert-rules", given)
    assert answer.status_code == 422
    assert [error["field"].partition(".")[0] for error in answer.json()["errors"]] == [field]


def test_only_an_operator_watches_what_the_installation_loses(api, organization):
    answer = api.post("alert-rules", {"organization_id": organization.pk, "name": "x", "kind": "lost_usage"})
    assert answer.status_code == 403


def test_a_viewer_looks_and_sends_nothing(organization, sink):
    viewer = Api(organization, Role.VIEWER)
    alert = world.alert(organization, world.webhook(organization, sink))
    assert viewer.get("alert-channels").status_code == 200
    delivery = world.deliveries(alert)[0]
    for path in (f"alert-channels/{delivery.channel_id}/test", f"alert-deliveries/{delivery.pk}/redeliver"):
        assert viewer.post(path).status_code == 403
    assert sink.accepted == []
