"""An admin finds the requests whose figures are not the provider's, and reads why."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By

from tests.browser.person import Person
from tests.controlplane.console.world import record, tenant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_what_is_not_the_providers_is_found_by_clicking(ada: Person):
    there = tenant()
    record(there, model="said-by-the-provider", cost_nano=10**9)
    record(there, model="held-for-a-job", cost_nano=2 * 10**9, source="held", why="runs_on", unconfirmed=True)
    part = {"model": "an-advisor", "kind": "advisor_message", "units": {"input": 1234}, "service_tier": "", "speed": ""}
    seen = {"source": "metered", "why": "client_gone", "unconfirmed": True, "parts": [part]}
    record(there, model="hung-up", cost_nano=3 * 10**9, unknown_calls={"x_call": 3}, **seen)

    ada.go_to("Requests")
    ada.expect("$5.00 in 2 requests not by the provider's figures")
    ada.picture("figures-list")
    ada.choose_id("figures", "unconfirmed")
    ada.press("Apply")
    ada.expect("held-for-a-job")
    ada.expect("hung-up")
    rows = [row.text for row in ada.chrome.find_elements(By.CSS_SELECTOR, ".data-row")]
    assert len(rows) == 2
    assert not [row for row in rows if "said-by-the-provider" in row]
    ada.picture("figures-filtered")
    ada.open_row()
    ada.expect("metered by the pod, from what it saw: the client hung up before the provider's figures")
    ada.expect("an-advisor (advisor message)")
    ada.expect("input 1,234")
    ada.expect("Calls of x_call")
    ada.picture("figures-record")
