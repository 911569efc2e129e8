"""Somebody who uses the admin as people do: types its address once, then clicks what is there to be clicked.

There is no verb for any other address: a page that no click reaches is one that nobody finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote as unquote_address
from urllib.parse import urlsplit

from django.contrib.admin.utils import unquote
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

PATIENCE_S = 60

# What can be pressed within a part of the page, with its words as one reads them: icons are drawn from letters.
PRESSABLE = """
const [within, label, exactly] = arguments;
const words = (element) => {
  const copy = element.cloneNode(true);
  copy.querySelectorAll('.material-symbols-outlined').forEach((icon) => icon.remove());
  return copy.textContent.replace(/\\s+/g, ' ').trim();
};
const all = [...document.querySelectorAll(within)].flatMap((part) =>
  [...part.querySelectorAll('button, a[href], [role=tab], input[type=submit]')])
  .filter((element) => element.checkVisibility({visibilityProperty: true}))
  .map((element) => [words(element) || element.value || element.getAttribute('aria-label') || '', element]);
if (label === null) return [...new Set(all.map(([said]) => said))];
const loosely = exactly ? undefined : all.find(([said]) => said.includes(label));
const found = all.find(([said]) => said === label) ?? loosely;
return found ? found[1] : null;
"""
ROW_LINK = ".data-row th a[href*='/change/'], .data-row td a[href*='/change/']"
STATUS = "return performance.getEntriesByType('navigation')[0].responseStatus"


@dataclass
class Person:
    chrome: Chrome
    base_url: str

    # ---- going somewhere ----

    def arrive(self) -> None:
        """The one address that is typed."""
        self.chrome.get(f"{self.base_url}/admin/")

    def log_in(self, username: str, password: str) -> None:
        self.arrive()
        self.fill("username", username)
        self.fill("password", password)
        self.press("Log in")

    def go_to(self, page: str) -> None:
        """A page of the sidebar by its words."""
        self.press(page, within="#nav-sidebar", exactly=True)

    def start_new(self) -> None:
        """The form of a list for something new."""
        self._come(lambda: self.chrome.find_element(By.CSS_SELECTOR, ".addlink"), "New …")

    def open_row(self, words: str = "") -> None:
        """A row of the list by its link's words; the first one, if nothing is said."""
        if words:
            self.press(words, within=".data-row")
        else:
            self._come(lambda: self.chrome.find_element(By.CSS_SELECTOR, ROW_LINK), "the first row")

    def go_back(self) -> None:
        self.chrome.execute_script("window.here = true")
        self.chrome.back()
        self.wait().until(_another_page_is_complete, "no page came on going back")

    def reload(self) -> None:
        """And yes, send the form again."""
        self.chrome.execute_script("window.here = true")
        self.chrome.refresh()
        self.wait().until(_another_page_is_complete, "no page came on reloading")

    # ---- forms ----

    def fill(self, name: str, text: str) -> None:
        field = self.chrome.find_element(By.NAME, name)
        field.clear()
        field.send_keys(text)

    def choose(self, name: str, text: str) -> None:
        Select(self.chrome.find_element(By.NAME, name)).select_by_visible_text(text)

    def choose_id(self, name: str, id: str) -> None:
        """Of rows that may share their words."""
        Select(self.chrome.find_element(By.NAME, name)).select_by_value(id)

    def tick(self, name: str, value: str) -> None:
        self._click(self.chrome.find_element(By.CSS_SELECTOR, f'input[name="{name}"][value="{value}"]'))

    def switch(self, name: str) -> None:
        """On or off: what it is not."""
        self._click(self.chrome.find_element(By.CSS_SELECTOR, f'input[type="checkbox"][name="{name}"]'))

    def type(self, *keys: str) -> None:
        """Into whatever has the focus."""
        self.chrome.switch_to.active_element.send_keys(*keys)

    def hold_control_and_press(self, key: str) -> None:
        self.chrome.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, key)

    # ---- pressing ----

    def press(self, label: str, *, within: str = "body", exactly: bool = False) -> None:
        """A button or link by its words; waits for the next page."""
        self._come(lambda: self.find(label, within=within, exactly=exactly), label)

    def touch(self, label: str) -> None:
        """The same, for something that stays on its page."""
        self._click(self.find(label))

    def find(self, label: str, *, within: str = "body", exactly: bool = False) -> WebElement:
        """The visible button or link with these words; else, unless told, the first one that contains them."""

        def found(chrome: Chrome) -> Any:
            return chrome.execute_script(PRESSABLE, within, label, exactly)

        element = self.wait().until(found, f"nothing to press that says {label!r} at {self.chrome.current_url}")
        assert isinstance(element, WebElement)
        return element

    def offers(self, within: str = "#main") -> set[str]:
        """The words of everything that can be pressed there."""
        return set(self.chrome.execute_script(PRESSABLE, within, None, False))

    # ---- looking ----

    def read(self, selector: str) -> str:
        return self.chrome.find_element(By.CSS_SELECTOR, selector).text

    def sees(self, text: str) -> bool:
        return text in self.chrome.find_element(By.TAG_NAME, "body").text

    def expect(self, text: str) -> None:
        self.wait().until(lambda _: self.sees(text), f"{text!r} did not appear at {self.chrome.current_url}")

    def picture(self, name: str) -> None:
        """For whoever wants to look: AIGATEWAY_TEST_PICTURES names the folder."""
        folder = os.environ.get("AIGATEWAY_TEST_PICTURES", "")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.chrome.set_window_size(1440, 1400)
            self.chrome.save_screenshot(str(Path(folder) / f"{name}.png"))

    def opened_id(self) -> str:
        """The id of the row whose page this is."""
        return unquote(unquote_address(self.path().removesuffix("/change/").rpartition("/")[2]))

    def path(self) -> str:
        """Where the clicks have led."""
        return urlsplit(self.chrome.current_url).path

    def status(self) -> int:
        """Of the answer that this page is."""
        return int(self.chrome.execute_script(STATUS))

    def wait(self) -> WebDriverWait[Chrome]:
        return self.wait_at_most(PATIENCE_S)

    def wait_at_most(self, seconds: float) -> WebDriverWait[Chrome]:
        """What the page replaces while it is looked at is looked for again."""
        return WebDriverWait(
            self.chrome, seconds, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException]
        )

    def _come(self, target: Callable[[], WebElement], words: str) -> None:
        element = target()
        self.chrome.execute_script("window.here = true")
        self._click(element)
        self.wait().until(_another_page_is_complete, f"no page came after {words!r}")

    def _click(self, element: WebElement) -> None:
        # The sticky bar at the bottom may cover what was scrolled to the edge.
        self.chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()


def _another_page_is_complete(chrome: Chrome) -> bool:
    """While one document takes another's place, the driver has none to ask: that is "not yet"."""
    try:
        return bool(chrome.execute_script("return !window.here && document.readyState === 'complete'"))
    except WebDriverException:
        return False
