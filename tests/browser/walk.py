"""A walk through everything that a role may open and press, by clicking from the home page on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import Model
from selenium.webdriver import Chrome

from controlplane.changes.actor import Actor
from tests.browser.chromium import complaints
from tests.browser.person import Person
from tests.controlplane.console.buttons import LISTS, offered

# Buttons of a row's page, each with what is pressed after it until the row's page is back.
STEPS: Mapping[str, tuple[str, ...]] = {
    "Set up a CLI": ("Back to the key",),
    "Disable": ("Disable", "Back to the key", "Enable", "Enable", "Back to the key"),
    "Rotate…": ("Rotate and show the new secret", "I have stored it", "Back to the key"),
    "More money…": ("Cancel",),
    "Withdraw…": ("Withdraw",),
    "Reset…": ("Reset now",),
    "Switch off…": ("Switch off", "Switch on", "Switch on"),
    "Send again": ("Send again",),
    "Evict…": ("Evict",),
}
OF_A_KIND: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("keys.virtualkey", "Revoke…"): ("Revoke for good", "Back to the key"),
    ("tenancy.apitoken", "Revoke…"): ("Revoke",),
    ("providers.provider", "Test"): ("Test now",),
    ("alerts.channel", "Test"): ("Send the test",),
}
PASSWORD = "correct horse battery"
ENDS = ("Revoke…", "Evict…", "Delete")  # after which the row is not what it was
MADE_TO_GO = {"tenancy.membership": "zoe"}  # the row to delete, where it is not the list's first


# Fields that a screen reader could not name.
UNLABELLED = """
return [...document.querySelectorAll('#content input:not([type=hidden]), #content select, #content textarea')]
  .filter((field) => field.offsetParent !== null)
  .filter((field) => !field.labels.length && !field.getAttribute('aria-label'))
  .map((field) => field.outerHTML.slice(0, 120));
"""


def arrived(chrome: Chrome, base_url: str, login: User) -> Person:
    login.set_password(PASSWORD)
    login.save()
    person = Person(chrome, base_url)
    person.log_in(login.username, PASSWORD)
    return person


@dataclass
class Walk:
    """`expected`: the sidebar's words → model, and whether something may be added; `buttons`: those of a row."""

    person: Person
    actor: Actor
    expected: Mapping[str, tuple[str, bool]]
    buttons: Callable[[Model], set[str]]
    look: Callable[[str], None] = lambda _: None  # at every page
    where: str = "home"
    lists: int = 0
    rows: int = 0
    pressed: list[str] = field(default_factory=list)
    pages: int = 0

    def through_everything(self) -> None:
        self.here("home")
        shown = self.person.offers("#nav-sidebar") & {words for words, *_ in LISTS}
        assert shown == set(self.expected)
        for words, (label, adds) in self.expected.items():
            self.through_list(words, label, adds)

    def through_list(self, words: str, label: str, adds: bool) -> None:
        self.to_list(words)
        self.lists += 1
        assert bool(self.person.chrome.find_elements("css selector", ".addlink")) == adds, f"{words}: add"
        if adds:
            self.person.start_new()
            self.here(f"{words}: new")
            self.to_list(words)
        buttons = self.to_first_row(words, label)
        self.rows += 1
        for button in sorted(buttons, key=lambda one: (one in ENDS, one != "Save")):
            self.press(words, label, button)

    def to_list(self, words: str) -> None:
        self.person.go_to(words)
        self.here(words)

    def to_first_row(self, words: str, label: str) -> set[str]:
        """On its page are exactly the buttons of the role."""
        self.person.open_row()
        self.here(f"{words}: first row")
        row = apps.get_model(label)._default_manager.get(pk=self.person.opened_id())
        expected = self.buttons(row)
        assert offered(self.person.offers()) == expected, f"{words}: {row}"
        return expected

    def press(self, words: str, label: str, button: str) -> None:
        self.where = f"{words}: {button}"
        self.pressed.append(self.where)
        if button == "Save":
            self.person.press("Save", exactly=True)
            self.here(self.where)
            assert self.person.sees("successfully"), self.where
            self.to_first_row(words, label)
        elif button == "Delete":
            self.to_list(words)
            self.person.open_row(MADE_TO_GO.get(label, ""))
            self.follow("Delete ", "Yes, I’m sure")
            assert self.person.sees("successfully"), self.where
        else:
            self.follow(button, *(OF_A_KIND.get((label, button)) or STEPS[button]))

    def follow(self, *labels: str) -> None:
        for label in labels:
            self.person.press(label, within="#main")
            self.here(f"{self.where}: {label}")

    def here(self, where: str) -> None:
        """The page is alive, and says so without a word in the browser's console."""
        self.pages += 1
        problems = complaints(self.person.chrome)
        assert (self.person.status(), problems) == (200, []), where
        assert self.person.chrome.title.endswith("| AI Gateway"), where
        assert self.person.chrome.execute_script(UNLABELLED) == [], where
        self.look(where)

    def __str__(self) -> str:
        return f"{self.lists} lists, {self.rows} rows, {len(self.pressed)} buttons pressed, {self.pages} pages"


def ask_the_palette(person: Person, words: str) -> None:
    person.hold_control_and_press("k")
    person.wait().until(
        lambda chrome: chrome.switch_to.active_element.get_attribute("id") == "search-input-command", "no palette"
    )
    person.type(words)
