"""An admin pastes a leaked key into search boxes: it is cut before anything is sent, and the key is found."""

from __future__ import annotations

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser.person import Person
from tests.controlplane import factories as make
from tests.controlplane.console.world import record, tenant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def addresses(ada: Person) -> list[str]:
    """Every address that the page was reached by or asked for."""
    asked: list[str] = ada.chrome.execute_script(
        "return [location.href, document.referrer, ...performance.getEntries().map(entry => entry.name)]"
    )
    return asked


def test_a_pasted_key_is_cut_before_it_is_sent_and_found(ada: Person):
    there = tenant()
    key, token = make.key_and_token(there.project, name="grace-laptop")
    make.key(there.project, name="zebra")
    record(there, key_id=key.pk, model="only-grace")
    whole = token.reveal().decode()
    secret = whole[len(key.shown) :]

    ada.go_to("Virtual keys")
    ada.fill("q", whole)
    assert ada.chrome.find_element(By.NAME, "q").get_attribute("value") == key.shown
    ada.chrome.execute_script("window.here = true")
    ada.chrome.find_element(By.ID, "searchbar-submit").click()
    ada.expect("grace-laptop")
    ada.wait().until(lambda chrome: key.shown in chrome.current_url)
    assert not ada.sees("zebra")
    assert not [address for address in addresses(ada) if secret in address.upper()]

    ada.go_to("Requests")
    ada.fill("q", whole)
    ada.press("Apply")
    ada.expect("only-grace")
    ada.expect("1 request, ")
    assert not [address for address in addresses(ada) if secret in address.upper()]
    assert secret not in ada.chrome.page_source


def test_a_long_list_of_choices_is_searched_by_typing(ada: Person):
    there = tenant()
    for number in range(101):
        make.principal(there.organization, display_name=f"Person number {number}")
    ada.go_to("Virtual keys")
    ada.start_new()
    ada.expect("Owned by")
    box = ada.chrome.find_element(By.CSS_SELECTOR, "#id_principal + .select2 .select2-selection")
    box.click()
    ada.wait().until(lambda chrome: chrome.find_elements(By.CSS_SELECTOR, ".select2-search__field"))
    ada.chrome.find_element(By.CSS_SELECTOR, ".select2-search__field").send_keys("number 77")
    ada.wait().until(chosen, "nobody was found to choose")
    assert ada.chrome.execute_script("return document.getElementById('id_principal').selectedOptions[0].text") == (
        "Person number 77"
    )


def chosen(chrome: Chrome) -> bool:
    """Clicks the one who was looked for, once there."""
    for one in chrome.find_elements(By.CSS_SELECTOR, ".select2-results__option"):
        if one.text == "Person number 77":
            one.click()
            return True
    return False
