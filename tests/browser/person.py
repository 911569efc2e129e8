"""Somebody who uses the admin: opens pages, fills in fields by name, presses what has a label."""

from __future__ import annotations

from dataclasses import dataclass

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

PATIENCE_S = 60


@dataclass
class Person:
    chrome: Chrome
    base_url: str

    def open(self, path: str) -> None:
        self.chrome.get(f"{self.base_url}{path}")

    def log_in(self, username: str, password: str) -> None:
        self.open("/admin/")
        self.fill("username", username)
        self.fill("password", password)
        self.press("Log in")

    def fill(self, name: str, text: str) -> None:
        field = self.chrome.find_element(By.NAME, name)
        field.clear()
        field.send_keys(text)

    def choose(self, name: str, text: str) -> None:
        Select(self.chrome.find_element(By.NAME, name)).select_by_visible_text(text)

    def tick(self, name: str, value: str) -> None:
        self._click(self.chrome.find_element(By.CSS_SELECTOR, f'input[name="{name}"][value="{value}"]'))

    def press(self, label: str) -> None:
        """A button or link by its words; waits for the next page."""
        self.chrome.execute_script("window.here = true")
        self._click(self.find(label))
        self.wait().until(_another_page_is_complete, f"no page came after {label!r}")

    def touch(self, label: str) -> None:
        """The same, for something that stays on its page."""
        self._click(self.find(label))

    def find(self, label: str) -> WebElement:
        """The visible button or link that begins with these words."""

        def found(chrome: Chrome) -> WebElement | None:
            for element in chrome.find_elements(By.CSS_SELECTOR, "button, a, [role=tab]"):
                if element.is_displayed() and label in " ".join(element.text.split()):
                    return element
            return None

        element = self.wait().until(found, f"nothing to press that says {label!r}")
        assert element is not None
        return element

    def read(self, selector: str) -> str:
        return self.chrome.find_element(By.CSS_SELECTOR, selector).text

    def sees(self, text: str) -> bool:
        return text in self.chrome.find_element(By.TAG_NAME, "body").text

    def expect(self, text: str) -> None:
        self.wait().until(lambda _: self.sees(text), f"{text!r} did not appear at {self.chrome.current_url}")

    def wait(self) -> WebDriverWait[Chrome]:
        return self.wait_at_most(PATIENCE_S)

    def wait_at_most(self, seconds: float) -> WebDriverWait[Chrome]:
        """What the page replaces while it is looked at is looked for again."""
        return WebDriverWait(
            self.chrome, seconds, poll_frequency=0.1, ignored_exceptions=[StaleElementReferenceException]
        )

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
