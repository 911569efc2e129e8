"""From a pod's report to every receiver: through settlement, as it happens."""

from __future__ import annotations

from threading import Event

import pytest

from controlplane.alerts import tasks
from controlplane.alerts.models import About, Alert, RuleKind
from controlplane.budgets.models import Crossing
from controlplane.celery import app
from tests.controlplane import factories as make
from tests.controlplane.alerts import world
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.usage.records import booked, record
from tests.controlplane.usage.test_settlement import drawing, lease

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever rings is answered at once."""
    monkeypatch.setattr(app, "send_task", lambda name, args: app.tasks[name](*args))


def test_a_booked_record_that_crosses_reaches_all_four_kinds_once_each(organization, sink, mail, workers):
    grace = make.principal(organization, display_name="Grace Hopper")
    budget = make.budget(grace, limit_nano=100 * DOLLAR, thresholds=[80, 100], on_breach="warn")
    world.rule(organization, RuleKind.BUDGET_THRESHOLD, *world.all_four(organization, sink), about=About.PERSON)
    ref = ref_of(budget)
    for number, (dollars, alerts) in enumerate([(50, 0), (33, 1), (4, 1), (20, 2), (60, 2)], 1):
        for _ in range(2):
            booked(record(f"req_{number}", cost_nano=dollars * DOLLAR, **drawing(ref)), first=number)
            tasks.sweep()
        assert Alert.objects.count() == alerts
        assert {len(sink.bodies(kind)) for kind in ("slack", "pagerduty", "webhook")} == {alerts}
        assert len(mail.messages) == alerts
    assert Crossing.objects.count() == 2
    assert [body["title"] for body in sink.bodies("webhook")] == [
        "Grace Hopper is at 83 % of $100.00 per month",
        "Grace Hopper is at 107 % of $100.00 per month",
    ]
    assert {len({body["dedup_key"] for body in sink.bodies(kind)}) for kind in ("pagerduty", "webhook")} == {2}


def test_a_crossing_is_told_at_once_and_what_crosses_nothing_is_not(
    organization, monkeypatch, django_capture_on_commit_callbacks
):
    ref, rung = ref_of(make.budget(organization, limit_nano=100 * DOLLAR, thresholds=[80])), Event()
    lease(ref, amount=90 * DOLLAR)
    monkeypatch.setattr(app, "send_task", lambda name, args: rung.set() if name == "alerts.sweep" else None)
    for number, (dollars, crossed) in enumerate([(50, 0), (33, 1), (4, 0)], 1):
        with django_capture_on_commit_callbacks(execute=True) as callbacks:
            booked(record(f"req_{number}", cost_nano=dollars * DOLLAR, **drawing(ref)), first=number)
        assert len(callbacks) == crossed
    assert rung.wait(60)
