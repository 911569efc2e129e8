"""`TestableAdmin`: the base of pages whose rows are tried against the outside: a test button, the last outcome.

A subclass has a button `test`, with an icon of its own, which calls `answer_test`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from controlplane.changes.actor import Actor
from controlplane.console.access import actor_of
from controlplane.console.addresses import page_of
from controlplane.console.base import ConsoleAdmin
from controlplane.console.decorators import display
from controlplane.console.questions import ask
from controlplane.pages.cells import BAD, GOOD, NOTHING, PLAIN, ago, pill
from controlplane.tenancy.permissions import Verb, may


class TestResult(Protocol):
    """The outcome of a test, as the app's action returns it."""

    @property
    def ok(self) -> bool: ...

    @property
    def message(self) -> str: ...

    @property
    def elapsed_ms(self) -> int: ...


class TestableAdmin(ConsoleAdmin):
    """Rows with `last_test_at`, `last_test_ok`, `last_test_message` and `last_test_ms`."""

    test_verb: ClassVar[Verb]
    shown_after_add = True
    actions_detail = ("test",)

    def run_test(self, row: Any, actor: Actor) -> TestResult:
        """Test it now; the action keeps the outcome with the row."""
        raise NotImplementedError

    def test_words(self, row: Any) -> Mapping[str, Any]:
        """The words of the page before the test: question, lead, submit; consequences."""
        raise NotImplementedError

    def has_test_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        row = self.find(request, object_id)
        return row is not None and may(actor_of(request), self.test_verb, row)

    def answer_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_at(request, object_id)
        back = page_of(row)
        if request.method != "POST":
            return ask(request, self.admin_site, title="Test", about=row, back_url=back, **self.test_words(row))
        result = self.run_test(row, actor_of(request))
        report = messages.success if result.ok else messages.error
        report(request, f"{result.message} ({result.elapsed_ms} ms)")
        return HttpResponseRedirect(back)

    def response_add(self, request: HttpRequest, obj: Model, post_url_continue: str | None = None) -> HttpResponse:
        """The way to the new row's own page, where the test button is."""
        messages.success(request, f"{type(obj).__name__} “{obj}” was added. Test it now.")
        return HttpResponseRedirect(page_of(obj))

    @display(description="Last test", ordering="last_test_at")
    def shown_test(self, row: Any) -> str:
        if row.last_test_at is None:
            return pill("Not tested", PLAIN)
        state = pill("Passed", GOOD) if row.last_test_ok else pill("Failed", BAD)
        return format_html("{} {}", state, ago(row.last_test_at))

    @display(description="Result")
    def shown_test_message(self, row: Any) -> str:
        duration = f" ({row.last_test_ms} ms)" if row.last_test_ms is not None else ""
        return f"{row.last_test_message}{duration}" if row.last_test_message else NOTHING
