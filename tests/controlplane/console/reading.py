"""Pages as a person reads them: the rows of a list, the links and buttons of a page, each by its words."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse

VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})


@dataclass(frozen=True, slots=True)
class Press:
    """Something to press: a link with its address, or a button that sends the form."""

    words: str
    address: str = ""
    in_list: bool = False


class Page(HTMLParser):
    """What an answer offers to press, in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.presses: list[Press] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self._pressed: dict[str, str] | None = None
        self._words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "input" and values.get("type") == "submit":
            self.presses.append(Press(values.get("value", "")))
        if tag in VOID:
            return
        self._open.append((tag, values))
        if tag in ("a", "button"):
            self._pressed, self._words = values, []

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag in ("a", "button") and self._pressed is not None:
            sends = tag == "button" and self._pressed.get("type") == "submit"
            if sends or self._pressed.get("href"):
                words = " ".join(" ".join(self._words).split())
                self.presses.append(Press(words, self._pressed.get("href", ""), self._in_list()))
            self._pressed = None

    def handle_data(self, data: str) -> None:
        if self._pressed is not None and not self._in("material-symbols-outlined"):
            self._words.append(data)

    def _in(self, name: str) -> bool:
        return any(name in values.get("class", "").split() for _, values in self._open)

    def _in_list(self) -> bool:
        return self._in("data-row")

    def leads_to(self, part: str) -> list[Press]:
        return [press for press in self.presses if part in press.address]


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


def form_token(client: Client, address: str) -> dict[str, str]:
    """What the page's form sends along so that it is sent once."""
    _, found, rest = text_of(client.get(address)).partition('name="form_token" value="')
    return {"form_token": rest.partition('"')[0]} if found else {}


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def rows_of(client: Client, model: type[Model]) -> list[str]:
    """The addresses that the list of a model links its rows to."""
    listed = list_of(model)
    page = Page(text_of(client.get(listed)))
    return [press.address for press in page.leads_to(listed) if press.in_list and "/change/" in press.address]


def row_of(client: Client, row: Model) -> str:
    """The address that the list links this row to; the row's own id is nowhere taken apart."""
    for address in rows_of(client, type(row)):
        answer: Any = client.get(address)
        found = answer.context_data.get("original") if answer.status_code == 200 else None
        if found is not None and found.pk == row.pk:
            return address
    raise AssertionError(f"no row of the list leads to {row!r}")
