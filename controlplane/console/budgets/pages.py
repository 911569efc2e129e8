"""The pages around one budget: its standing and its books, more money for a while, reset, off and on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone

from controlplane.budgets import actions, queries
from controlplane.budgets.models import Account, Budget, Override, ScopeKind
from controlplane.console.access import actor_of
from controlplane.console.addresses import page_of, requests_page
from controlplane.console.base import by_field
from controlplane.console.budgets.form import OverrideForm
from controlplane.console.budgets.words import at_words, limit_words, line_of, member_lines, override_words
from controlplane.console.questions import ask, breadcrumbs
from controlplane.pages.periods import ALL
from controlplane.pages.wording import dollars
from controlplane.tenancy.models import Principal
from controlplane.tenancy.permissions import Verb

BOOKS = 24  # windows and crossings on the page; the rest is in the API


def books(request: HttpRequest, budget: Budget) -> dict[str, Any]:
    """The context of a budget's page beside its form."""
    now = timezone.now()
    standings = queries.member_standings(budget)
    accounts = list(queries.past_accounts(budget)[:BOOKS])
    crossings = list(queries.crossings_for(actor_of(request)).filter(budget_id=budget.pk)[:BOOKS])
    named = {row.member_id for row in accounts} | {row.member_id for row in crossings}
    members = Principal.objects.in_bulk(named - {""})
    may_withdraw = actions.may_change(actor_of(request), budget, Verb.BUDGET_OVERRIDE)
    grouped = budget.scope_kind == ScopeKind.GROUP
    return {
        "standing": None if grouped or not standings else line_of(standings[0]),
        "members": member_lines(standings) if grouped else [],
        "grouped": grouped,
        "overrides": [
            _override(row, now, may_withdraw)
            for row in queries.overrides_for(actor_of(request)).filter(budget=budget)[:BOOKS]
        ],
        "windows": [_window(budget, row, members) for row in accounts],
        "crossings": [
            {
                "at": at_words(row.at),
                "threshold": f"{row.threshold} %",
                "of": f"{dollars(row.settled_nano, row.limit_nano)} of {dollars(row.limit_nano, row.limit_nano)}",
                "member": str(members.get(row.member_id, row.member_id)),
                "window": row.window_key,
            }
            for row in crossings
        ],
    }


def override(request: HttpRequest, site: AdminSite, budget: Budget) -> HttpResponse:
    form = OverrideForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            actions.override_budget(budget, by=actor_of(request), **form.cleaned_data)
            return HttpResponseRedirect(page_of(budget))
        except ValidationError as refused:
            for field, messages in by_field(refused).items():
                form.add_error(field if field in form.fields else None, messages)
    context = {
        **site.each_context(request),
        "title": "More money",
        **breadcrumbs(budget),
        "form": form,
        "heading": f"More money on “{budget.name}” for a while",
        "lead": f"The limit is {limit_words(budget)}. What you add counts in every window until it ends.",
        "back_url": page_of(budget),
    }
    return TemplateResponse(request, "console/budget_override.html", context)


def ask_reset(request: HttpRequest, site: AdminSite, budget: Budget) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Reset",
        about=budget,
        question=f"Count “{budget.name}” from nothing again?",
        lead="A new window begins now, for everybody whom the budget covers.",
        consequences=(
            "What was spent until now stays in the books, and with everybody else's figures.",
            "Requests that run now are still booked to the window that they began in.",
            "The next reset comes when it would have come anyway.",
        ),
        text_name="reason",
        text_label="Why (kept in the audit)",
        submit="Reset now",
        back_url=page_of(budget),
        danger=True,
    )


def ask_disable(request: HttpRequest, site: AdminSite, budget: Budget) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Switch off",
        about=budget,
        question=f"Switch “{budget.name}” off?",
        lead="Nothing draws on it any more, within a second, until it is switched on again. Other budgets still hold.",
        submit="Switch off",
        back_url=page_of(budget),
        danger=True,
    )


def ask_enable(request: HttpRequest, site: AdminSite, budget: Budget) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Switch on",
        about=budget,
        question=f"Switch “{budget.name}” on?",
        lead="It holds from the next request on, on every pod within 60 seconds. It knows what was spent on it in this "
        "window before it was off"
        + (", and counts what was spent since." if budget.count_earlier else "; what was spent since is not in it."),
        submit="Switch on",
        back_url=page_of(budget),
    )


def ask_withdraw(request: HttpRequest, site: AdminSite, budget: Budget, chosen: Override) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Withdraw",
        about=budget,
        question=f"Withdraw {dollars(chosen.extra_nano)} from “{budget.name}”?",
        lead=f"The limit is {limit_words(budget)} again, from the next request on, on every pod within 60 seconds. "
        "Running answers may end.",
        submit="Withdraw",
        back_url=page_of(budget),
        danger=True,
    )


def _override(row: Override, now: datetime, may_withdraw: bool) -> dict[str, str]:
    state, tone = override_words(row, now)
    withdraw_url = f"{page_of(row.budget, 'withdraw')}?override={row.pk}"
    return {
        "extra": dollars(row.extra_nano),
        "until": at_words(row.until) if row.until is not None else "until withdrawn",
        "reason": row.reason,
        "approved_by": row.approved_by,
        "state": state,
        "tone": tone,
        "withdraw_url": withdraw_url if state == "Live" and may_withdraw else "",
    }


def _counts_from(budget: Budget, row: Account) -> datetime:
    """When the window, or the budget in it, began to count."""
    began = budget.counts_from if row.opened_at >= budget.counts_from else budget.created_at
    return max(row.starts_at or row.opened_at, began)


def _window(budget: Budget, row: Account, members: Mapping[str, Principal]) -> dict[str, str]:
    beyond = row.overdraft_used_nano + row.excess_nano
    return {
        "key": row.window_key,
        "since": at_words(_counts_from(budget, row)),
        "member": str(members.get(row.member_id, row.member_id)),
        "spent": dollars(row.settled_nano),
        "earlier": f"{dollars(row.earlier_nano)} of it not by its requests" if row.earlier_nano else "",
        "held": dollars(row.held_nano) if row.held_nano else "",
        "limit": dollars(row.limit_nano),
        "beyond": dollars(beyond) if beyond else "",
        "requests_url": requests_page(account=row.pk, days=ALL),
    }
