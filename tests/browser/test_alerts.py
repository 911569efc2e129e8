"""From no channel to a page that rings: one form for the rule, a test button that sends, a delivery sent again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.utils import timezone
from selenium.webdriver.common.by import By

from controlplane.alerts import budget_watch, tasks
from controlplane.alerts.models import About, AlertRule, Channel, Delivery
from controlplane.budgets.models import Account
from tests.browser.person import Person
from tests.browser.walk import UNLABELLED
from tests.controlplane import factories as make
from tests.controlplane.alerts.sinks import ROUTING_KEY, Sink, serving

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
DOLLAR = 10**9


@pytest.fixture
def pagerduty(private_providers: None) -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


@pytest.fixture
def ada(ada: Person) -> Person:
    make.organization(name="Acme Robotics")
    return ada


def test_page_on_call_if_any_engineer_crosses_80_percent_of_their_monthly_personal_cap(ada: Person, pagerduty: Sink):
    add_and_test_the_channel(ada, pagerduty)
    write_the_rule(ada)
    somebody_crosses()
    assert [page["payload"]["summary"] for page in pagerduty.bodies("pagerduty")[2:]] == [
        "Grace Hopper is at 83 % of $100.00 per month"
    ]
    look_at_it(ada)
    send_it_again(ada, pagerduty)


def add_and_test_the_channel(ada: Person, pagerduty: Sink) -> None:
    ada.go_to("Channels")
    ada.start_new()
    ada.choose("kind", "Slack")
    assert not ada.chrome.find_element(By.NAME, "address").is_displayed()
    assert ada.sees("Webhook URL")
    ada.choose("kind", "PagerDuty")
    assert ada.sees("Integration key")
    ada.choose("organization", "Acme Robotics")
    ada.fill("name", "On-call")
    ada.fill("address", pagerduty.url)
    ada.fill("secret", ROUTING_KEY)
    ada.picture("channel-add")
    ada.press("Save")
    ada.expect("Test it now")
    assert ROUTING_KEY not in ada.chrome.page_source
    ada.press("Test")
    ada.picture("channel-ask")
    ada.press("Send the test")
    ada.expect("Accepted (200)")
    ada.picture("channel-tested")
    assert [page["event_action"] for page in pagerduty.bodies("pagerduty")] == ["trigger", "resolve"]
    pagerduty.down = 503
    ada.press("Test")
    ada.press("Send the test")
    ada.expect("Refused (503)")
    ada.picture("channel-failed")
    pagerduty.down = 0


def write_the_rule(ada: Person) -> None:
    """One page, one form."""
    ada.go_to("Rules")
    ada.start_new()
    ada.choose("kind", "Somebody spends much faster than usual")
    assert not ada.chrome.find_element(By.NAME, "threshold").is_displayed()
    ada.choose("kind", "A budget reaches a part of its limit")
    assert not ada.chrome.find_element(By.NAME, "factor").is_displayed()
    ada.fill("name", "Page on-call at 80 % of a personal cap")
    ada.tick("channels", Channel.objects.get().pk)
    ada.choose("severity", "Critical")
    ada.choose("about", "A person's own")
    ada.choose("window", "Month")
    ada.fill("threshold", "80")
    ada.picture("rule-add")
    ada.press("Save")
    ada.expect("Any person's own budget per month reaches 80 %")
    ada.picture("rules")
    rule = AlertRule.objects.get()
    assert (rule.about, rule.window, rule.threshold, len(rule.channels)) == (About.PERSON, "month", 80, 1)
    ada.open_row(rule.name)
    ada.picture("rule")
    assert ada.chrome.execute_script(UNLABELLED) == []


def somebody_crosses() -> None:
    rule = AlertRule.objects.get()
    grace = make.principal(rule.organization, display_name="Grace Hopper")
    budget = make.budget(grace, limit_nano=100 * DOLLAR, name="Grace's cap", contact="#ai-platform")
    Account.objects.create(
        organization_id=budget.organization_id,
        budget_id=budget.pk,
        window_key="month:2026-11-01@UTC",
        limit_nano=budget.limit_nano,
        settled_nano=83 * DOLLAR,
    )
    assert budget_watch.look(timezone.now()) == 1
    assert tasks.deliver(Delivery.objects.get().pk)


def look_at_it(ada: Person) -> None:
    ada.go_to("Alerts")
    ada.expect("Grace Hopper is at 83 % of $100.00 per month")
    ada.picture("alerts")
    ada.open_row("Grace Hopper is at 83 %")
    for words in ("Grace's cap", "#ai-platform", "$83.00 of $100.00", "Delivered", "On-call"):
        assert ada.sees(words), words
    ada.picture("alert")


def send_it_again(ada: Person, pagerduty: Sink) -> None:
    ada.press("On-call")
    ada.picture("delivery")
    ada.press("Send again")
    ada.press("Send again")
    ada.expect("on its way again")
    assert tasks.deliver(Delivery.objects.get().pk)
    assert [page["event_action"] for page in pagerduty.bodies("pagerduty")][2:] == ["trigger", "trigger"]
    ada.go_to("Deliveries")
    ada.picture("deliveries")
