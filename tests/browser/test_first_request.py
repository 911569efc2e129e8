"""An admin's way from an empty installation to a revoked key, in a real browser."""

from __future__ import annotations

import re

import pytest
from selenium.webdriver.common.by import By

from controlplane.changes import queries
from controlplane.fleet.models import Pod
from controlplane.keys.models import KeyState, VirtualKey
from controlplane.providers.models import Provider
from tests.browser.chromium import complaints
from tests.browser.person import Person
from tests.controlplane.console.world import pod
from tests.simprovider.serve import SimInThread

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
TOKEN = re.compile(r"lw_vk_live_[0-9A-Z]{42}")


def test_from_an_empty_installation_to_a_revoked_key(ada: Person, private_providers: None):
    with SimInThread() as provider:
        ada.expect("0 of 7 done")
        create_the_tree(ada)
        add_and_test_a_provider(ada, provider.url)
        first = mint(ada)
        second = rotate(ada, first)
        revoke(ada)
    assert first != second


def create_the_tree(ada: Person) -> None:
    """Organization → team → project → person, each by the checklist's own button."""
    ada.press("Start")
    ada.fill("name", "Acme Robotics")
    ada.wait().until(lambda chrome: chrome.find_element(By.NAME, "slug").get_attribute("value") == "acme-robotics")
    ada.fill("contact", "#ai-platform")
    ada.press("Save")
    ada.expect("1 of 7 done")
    ada.press("Start")
    ada.fill("name", "Core")
    ada.press("Save")
    ada.expect("2 of 7 done")
    ada.press("Start")
    ada.fill("name", "Tools")
    ada.press("Save")
    ada.expect("3 of 7 done")
    ada.press("Start")
    ada.fill("display_name", "Grace Hopper")
    ada.fill("email", "grace@acme.example")
    ada.press("Save")
    ada.expect("4 of 7 done")


def add_and_test_a_provider(ada: Person, url: str) -> None:
    ada.press("Start")
    ada.choose("kind", "Anthropic")
    ada.fill("name", "claude")
    ada.fill("base_url", url)
    ada.fill("credential", "sk-ant-api03-browser-test-7788")
    ada.press("Save")
    ada.expect("Test it now")
    assert ada.sees("••••7788")
    assert "browser-test" not in ada.chrome.page_source
    ada.press("Test")
    ada.press("Test now")
    ada.expect("accepts the credential")
    assert Provider.objects.get().last_test_ok


def mint(ada: Person) -> str:
    ada.go_to("Dashboard")
    ada.expect("5 of 7 done")
    ada.press("Start")
    ada.fill("name", "grace-laptop")
    ada.press("Save")
    token = ada.read("#token")
    assert TOKEN.fullmatch(token)
    assert ada.sees("shown this once")
    assert f"ANTHROPIC_AUTH_TOKEN={token}" in ada.read("#setup-claude-code")
    ada.touch("Codex")
    assert "request_max_retries = 0" in ada.read("#setup-codex")
    assert not ada.chrome.find_element(By.ID, "setup-claude-code").is_displayed()
    ada.touch("Copy")
    ada.wait().until(lambda _: ada.sees("Copied") or ada.sees("Press Ctrl+C"))
    ada.press("I have stored it")
    assert token not in ada.chrome.page_source
    ada.chrome.back()
    assert token not in ada.chrome.page_source
    complaints(ada.chrome)  # the browser says that it will not send the form again
    ada.go_to("Virtual keys")
    ada.open_row("grace-laptop")
    return token


def rotate(ada: Person, first: str) -> str:
    ada.press("Rotate")
    ada.tick("grace", "0")
    ada.press("Rotate and show the new secret")
    token = ada.read("#token")
    assert TOKEN.fullmatch(token)
    assert first not in ada.chrome.page_source
    ada.reload()
    ada.expect("This form was sent before, and “grace-laptop” has what it made then.")
    assert token not in ada.chrome.page_source
    assert VirtualKey.objects.get().secrets.count() == 2
    return token


def revoke(ada: Person) -> None:
    """With a pod that applies the revocation while the admin looks on."""
    key = VirtualKey.objects.get()
    watched = pod(name="pod-1", epoch=queries.head().epoch, applied_revision=queries.head().revision)
    ada.press("Revoke")
    assert ada.sees("This cannot be taken back")
    ada.press("Revoke for good")
    ada.expect("is revoked")
    ada.expect("Live on 0 of 1 pod")
    Pod.objects.filter(pk=watched.pk).update(applied_revision=queries.head().revision)
    ada.expect("Live on 1 of 1 pod")
    key.refresh_from_db()
    assert key.state == KeyState.REVOKED
    ada.press("Back to the key")
    assert ada.sees("Revoked")
