"""The pages of budgets and groups: the tree, limits typed in dollars, more money for a while, resets, the books."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from controlplane.budgets.models import Budget, Charge, Override
from controlplane.changes.change_set import change_set
from controlplane.changes.models import AuditEvent
from controlplane.console.addresses import page_of
from controlplane.console.budgets.form import STRICTER_BINDS
from controlplane.tenancy.models import Group, GroupMember, Role
from controlplane.usage.models import UsageRecord
from tests.controlplane import factories as make
from tests.controlplane.console.reading import row_of
from tests.controlplane.console.world import Tenant, record, tenant

pytestmark = pytest.mark.django_db

DOLLAR = 10**9


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


@pytest.fixture
def there() -> Tenant:
    return tenant()


def text(answer: Any) -> str:
    return " ".join(str(answer.content.decode()).split())


def budget_of(there: Tenant) -> Budget:
    row = there.rows["budgets.budget"]
    assert isinstance(row, Budget)
    return row


def requests_listed(admin: Client, **query: str) -> int:
    answer: Any = admin.get(reverse("admin:usage_usagerecord_changelist"), {"days": "all"} | query)
    return int(answer.context_data["cl"].queryset.count())


def form(**fields: str) -> dict[str, str]:
    return {
        "name": "Platform",
        "limit_nano": "50",
        "window": "month",
        "timezone": "UTC",
        "anchor": "0",
        "on_breach": "block",
        "outage": "standard",
        "thresholds": "80, 100",
        "enabled": "on",
    } | fields


def test_the_tree_shows_every_budget_where_it_belongs_with_what_is_spent_held_and_left(admin: Client, there: Tenant):
    page = text(admin.get(reverse("admin:budgets_budget_changelist")))
    assert "Project's month" in page.replace("&#x27;", "'")
    assert "$85.00 of $101.00, $1.00 held" in page
    assert "$15.00" in page
    assert "84 % spent" in page
    for name in (there.organization.name, there.team.name, there.project.name):
        assert name in page


def test_a_budget_says_from_when_it_counts_on_form_page_tree_and_in_the_books(admin: Client, there: Tenant):
    budget = budget_of(there)
    when = f"{budget.counts_from:%a %d %b %Y, %H:%M} UTC"
    assert "Otherwise it counts from then on" in text(admin.get(reverse("admin:budgets_budget_add")))
    words = f"counts from {when}: what was spent earlier in this window is not in it"
    page = text(admin.get(page_of(budget)))
    assert f"<dt>Counting</dt><dd>{words}</dd>" in page
    assert f"<td>{when}</td>" in page
    assert words in text(admin.get(reverse("admin:budgets_budget_changelist")))


def test_a_budget_that_counts_from_its_windows_beginning_says_nothing_of_it(admin: Client, there: Tenant):
    with change_set(make.SYSTEM):
        Budget.objects.update(counts_from=timezone.now() - timedelta(days=70))
    assert "counts from" not in text(admin.get(page_of(budget_of(there)))).partition("<form")[0]


def test_the_form_counts_what_was_spent_before_unless_told_otherwise(admin: Client, there: Tenant):
    add = reverse("admin:budgets_budget_add")
    box = re.search(r'<input[^>]*name="count_earlier"[^>]*>', text(admin.get(add)))
    assert box is not None
    assert "checked" in box[0]
    UsageRecord.objects.all().delete()
    now = timezone.now()
    UsageRecord.objects.create(
        id="use_1", request_id="req_1", state="final", received_at=now, started_at=now,
        organization_id=there.organization.pk, cost_nano=12 * 10**9,
    )  # fmt: skip
    scope = f"organization:{there.organization.pk}"
    page = text(admin.post(add, form(scope=scope, name="Counts", limit_nano="10", count_earlier="on"), follow=True))
    assert "$12.00 of it were spent in this window before it counted them." in page
    assert "It is over the limit with that: requests are refused until the window ends." in page
    made = Budget.objects.get(name="Counts")
    assert "$12.00 of it not by its requests" in text(admin.get(page_of(made)))
    answer = admin.post(add, form(scope=scope, name="Does not", limit_nano="10"))
    assert [str(message) for message in get_messages(answer.wsgi_request) if "spent" in str(message)] == []
    made = Budget.objects.get(name="Does not")
    assert not made.count_earlier
    change = {**form(name="Does", limit_nano="10", count_earlier="on"), "window": "week"}
    answer = admin.post(row_of(admin, made), change)
    said = [str(message) for message in get_messages(answer.wsgi_request)]
    assert "$12.00 of it were spent in this window before it counted them." in said


@pytest.mark.parametrize("kind", ["organization", "team", "project", "principal", "virtual_key", "group"])
def test_a_budget_can_be_set_on_every_scope_in_dollars(admin: Client, there: Tenant, kind: str):
    models = {"virtual_key": "keys.virtualkey"}
    row = there.rows[models.get(kind, f"tenancy.{kind}")]
    data = form(scope=f"{kind}:{row.pk}", limit_nano="12.345678901", overdraft_nano="0.25")
    answer = admin.post(reverse("admin:budgets_budget_add"), data)
    assert answer.status_code == 302, text(answer)
    made = Budget.objects.get(scope_kind=kind, name="Platform")
    assert (made.scope_id, made.limit_nano, made.overdraft_nano) == (row.pk, 12_345_678_901, 250_000_000)
    assert (made.thresholds, made.organization_id) == ([80, 100], there.organization.pk)
    shown = text(admin.get(row_of(admin, made)))
    assert 'value="12.345678901"' in shown
    assert "80, 100" in shown


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("limit_nano", "much", "Enter a number"),
        ("limit_nano", "-1", "greater than or equal to 0"),
        ("limit_nano", "1.0000000001", "no more than 9 decimal places"),
        ("scope", "team:team_00000000000000000000000000", "not one of the available choices"),
        ("timezone", "Mars/Olympus", "IANA name"),
        ("anchor", "40", "of a window of a month is 0 or from 1 to 31"),
        ("thresholds", "eighty", "Whole numbers, such as 80, 100."),
        ("thresholds", "0", "whole per cents from 1"),
        ("model_pattern", "gpt 5", "no blanks"),
    ],
)
def test_what_a_budget_cannot_say_is_refused_at_its_field(
    admin: Client, there: Tenant, field: str, value: str, says: str
):
    before = Budget.objects.count()
    data = form(scope=f"team:{there.team.pk}") | {field: value}
    answer = admin.post(reverse("admin:budgets_budget_add"), data)
    assert answer.status_code == 200
    assert says in text(answer)
    assert Budget.objects.count() == before


def test_the_form_says_whom_the_chosen_scope_covers(admin: Client, there: Tenant):
    covers = reverse("admin:budgets_budget_covers")
    said = admin.get(covers, {"scope": f"project:{there.project.pk}"}).json()
    assert said["words"] == "Covers 1 key of 1 person now, and later ones."
    assert said["sample"] == [there.key.name]
    assert admin.get(covers, {"scope": "project:proj_nobody"}).json() == {"words": "", "sample": []}


def test_a_raised_limit_is_saved_and_audited(admin: Client, there: Tenant):
    row = budget_of(there)
    answer = admin.post(page_of(row), form(name=row.name, limit_nano="150"))
    assert answer.status_code == 302, text(answer)
    row.refresh_from_db()
    assert row.limit_nano == 150 * DOLLAR
    event = AuditEvent.objects.get(action="budget.updated", target_id=row.pk)
    assert event.after["limit_nano"] == 150 * DOLLAR


def test_fifty_dollars_more_until_friday(admin: Client, there: Tenant):
    row = budget_of(there)
    friday = timezone.now() + timedelta(days=3)
    said = {"extra_nano": "50", "until_0": f"{friday:%Y-%m-%d}", "until_1": f"{friday:%H:%M:%S}", "reason": "Launch"}
    page = page_of(row, "override")
    assert "More money on" in text(admin.get(page))
    answer = admin.post(page, said)
    assert answer.status_code == 302, text(answer)
    made = Override.objects.get(budget=row, reason="Launch")
    assert (made.extra_nano, made.approved_by) == (50 * DOLLAR, "ada")
    shown = text(admin.get(row_of(admin, row)))
    assert "+$50.00" in shown
    assert "$85.00 of $151.00" in shown
    withdraw = f"{page_of(row, 'withdraw')}?override={made.pk}"
    assert "Withdraw $50.00" in text(admin.get(withdraw))
    admin.post(withdraw)
    made.refresh_from_db()
    assert made.withdrawn_at is not None
    assert "$85.00 of $101.00" in text(admin.get(row_of(admin, row)))


def test_more_money_needs_a_reason_an_amount_and_a_future(admin: Client, there: Tenant):
    page = page_of(budget_of(there), "override")
    before = Override.objects.count()
    for said, problem in (
        ({"extra_nano": "0", "reason": "x"}, "more than 0"),
        ({"extra_nano": "5", "reason": ""}, "This field is required"),
        ({"extra_nano": "5", "reason": "x", "until_0": "2020-01-01", "until_1": "00:00"}, "must lie in the future"),
    ):
        answer = admin.post(page, said)
        assert answer.status_code == 200
        assert problem in text(answer)
    assert Override.objects.count() == before


def test_a_reset_opens_a_new_window_and_keeps_the_old_one_in_the_books(admin: Client, there: Tenant):
    row = budget_of(there)
    page = page_of(row, "reset")
    assert "from nothing again" in text(admin.get(page))
    admin.post(page, {"reason": "New quarter"})
    row.refresh_from_db()
    assert row.resets == 1
    shown = text(admin.get(row_of(admin, row)))
    assert "$0.00 of $101.00" in shown
    assert there.rows["budgets.account"].window_key in shown  # type: ignore[attr-defined]
    assert AuditEvent.objects.get(action="budget.reset").details["reason"] == "New quarter"


def test_off_and_on(admin: Client, there: Tenant):
    row = budget_of(there)
    admin.post(page_of(row, "disable"))
    row.refresh_from_db()
    assert not row.enabled
    admin.post(page_of(row, "enable"))
    row.refresh_from_db()
    assert row.enabled


def test_the_books_lead_to_the_requests_that_a_figure_is_made_of(admin: Client, there: Tenant):
    account = there.rows["budgets.account"]
    shown = text(admin.get(row_of(admin, budget_of(there))))
    link = f"{reverse('admin:usage_usagerecord_changelist')}?account={account.pk}&amp;days=all"
    assert link in shown
    assert "80 %" in shown  # crossed
    Charge.objects.create(account_id=account.pk, request_id="req_of_somebody_else", amount_nano=DOLLAR)
    assert requests_listed(admin, account=str(account.pk)) == 0
    request_id = there.rows["usage.usagerecord"].request_id  # type: ignore[attr-defined]
    Charge.objects.create(account_id=account.pk, request_id=request_id, amount_nano=DOLLAR)
    record(there)
    assert requests_listed(admin, account=str(account.pk)) == 1
    assert requests_listed(admin) == 2


def test_who_only_looks_sees_dollars_and_no_buttons(there: Tenant):
    actor, _ = make.member(there.organization, Role.VIEWER)
    client = Client()
    client.force_login(User.objects.get(pk=actor.id))
    shown = text(client.get(row_of(client, budget_of(there))))
    assert "$100.00 a month" in shown
    assert "More money…" not in shown
    assert "Reset…" not in shown


def test_a_team_admin_sets_budgets_inside_the_team_and_not_on_it(there: Tenant):
    actor, _ = make.member(there.organization, Role.TEAM_ADMIN, there.team)
    client = Client()
    client.force_login(User.objects.get(pk=actor.id))
    offered = text(client.get(reverse("admin:budgets_budget_add")))
    assert f"project:{there.project.pk}" in offered
    assert f"team:{there.team.pk}" not in offered
    assert f"organization:{there.organization.pk}" not in offered
    refused = client.post(reverse("admin:budgets_budget_add"), form(scope=f"team:{there.team.pk}"))
    assert "not one of the available choices" in text(refused)


def test_members_of_a_group_are_typed_as_people_name_each_other(admin: Client, there: Tenant):
    grace = make.principal(there.organization)
    row = there.rows["tenancy.group"]
    assert isinstance(row, Group)
    page = page_of(row)
    said = {"name": "Interns", "people": f"{there.principal.pk}\n{grace.display_name}"}
    answer = admin.post(page, said)
    assert answer.status_code == 302, text(answer)
    members = GroupMember.objects.filter(group=row)
    assert set(members.values_list("principal_id", flat=True)) == {there.principal.pk, grace.pk}
    refused = text(admin.post(page, said | {"people": "nobody@example.com"}))
    assert "Nobody in" in refused
    admin.post(page, said | {"people": grace.pk})
    assert list(members.values_list("principal_id", flat=True)) == [grace.pk]


def test_whoever_makes_a_budget_stricter_reads_when_it_binds(admin: Client, there: Tenant):
    row = budget_of(there)
    page = page_of(row)
    assert STRICTER_BINDS in text(admin.get(page))
    raised = admin.post(page, form(name=row.name, limit_nano="1500"))
    lowered = admin.post(page, form(name=row.name, limit_nano="150"))
    shown = [[str(each) for each in get_messages(answer.wsgi_request)] for answer in (raised, lowered)]
    assert [STRICTER_BINDS in words for words in shown] == [False, True]
    assert "within 60 seconds" in text(admin.get(page_of(row, "enable")))
