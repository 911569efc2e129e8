"""Many rows: no page asks the database more often for them, boxes of choices are searched, what is chosen stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from controlplane.alerts.channel_actions import create_channel
from controlplane.alerts.models import ChannelKind, RuleKind
from controlplane.alerts.raising import Occurrence, begin
from controlplane.alerts.rule_actions import create_rule
from controlplane.budgets.models import Budget
from controlplane.console import base, choices
from controlplane.keys import alias_actions
from controlplane.providers import price_actions
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Role
from dataplane.core.secret import Secret
from tests.controlplane import factories as make
from tests.controlplane.console.test_budgets import form
from tests.controlplane.console.test_who_sees_what import PAGES
from tests.controlplane.console.world import Tenant, pod, record, tenant
from tests.grid import part, thinned

pytestmark = pytest.mark.django_db

LISTS = sorted(name for name in PAGES if name.endswith("_changelist"))
FORMS = sorted(name for name in PAGES if name.endswith("_add"))


@pytest.fixture
def there() -> Tenant:
    return tenant()


def client_of(login: User) -> Client:
    client = Client()
    client.force_login(login)
    return client


@pytest.fixture
def operator() -> Client:
    return client_of(make.user(is_superuser=True, username="ada"))


def owner_of(there: Tenant) -> Client:
    return client_of(User.objects.get(pk=make.member(there.organization, Role.OWNER)[0].id))


def grow(there: Tenant, rows: int) -> None:
    """So many more of everything that a list of the organization shows."""
    organization = there.organization
    for _ in range(rows):
        team = make.team(organization)
        project = make.project(team)
        person = make.principal(organization)
        provider = make.provider(organization)
        key = make.key(project, principal=person)
        group = make.group(organization, person, there.principal)
        tenancy.mint_token(by=make.SYSTEM, organization=organization, name="script")
        make.member(organization, Role.MEMBER, team)
        alias_actions.create_alias(
            by=make.SYSTEM, organization=organization, alias=f"a-{key.pk}", model="m", key=key, provider=provider
        )
        price_actions.put_override(
            by=make.SYSTEM,
            organization=organization,
            provider="openai",
            model=key.pk,
            rates={"input": "1", "output": "2"},
        )
        record(there, key_id=key.pk, principal_id=person.pk, model=key.pk, client=key.pk)
        for scope in (team, project, person, key, group):
            make.budget(scope)
        channel = create_channel(
            by=make.SYSTEM, organization=organization, name=f"To {key}", kind=ChannelKind.PAGERDUTY,
            secret=Secret("0123456789abcdef0123456789abcdef"),
        )  # fmt: skip
        rule = create_rule(
            by=make.SYSTEM, organization=organization, name=f"Only {key}", kind=RuleKind.UNPRICED_MODEL,
            channels=[channel.pk], scope_id=key.pk,
        )  # fmt: skip
        occurrence = Occurrence(
            subject_kind="model", subject=key.pk, window_key="day:1", title=f"{key.pk} has no price",
            happened_at=timezone.now(),
        )  # fmt: skip
        begin(rule, occurrence)
        pod()


def asked(client: Client, pages: list[str]) -> dict[str, int]:
    """How many queries each page takes."""
    taken = {}
    for page in pages:
        with CaptureQueriesContext(connection) as queries:
            status = client.get(reverse(f"admin:{page}")).status_code
        if status == 200:
            taken[page] = len(queries)
    return taken


@pytest.mark.parametrize("few", [100, 3])
@thinned(2)
def test_no_list_and_no_form_asks_more_often_for_more_rows(
    operator: Client, there: Tenant, few: int, step: int, monkeypatch: pytest.MonkeyPatch
):
    for module in (base, choices):
        monkeypatch.setattr(module, "FEW", few)
    owner = owner_of(there)
    grow(there, 4)
    pages = part([*LISTS, *FORMS, "index"], few, step)  # an even number takes some, an odd one the others
    before = {name: asked(client, pages) for name, client in (("operator", operator), ("owner", owner))}
    assert len(before["operator"]) > 30 // step
    grow(there, 8)
    for name, client in (("operator", operator), ("owner", owner)):
        after = asked(client, pages)
        more = {page: (count, after[page]) for page, count in before[name].items() if after[page] > count}
        assert more == {}, name
        assert max(after.values()) < 60, after


# ---- boxes of choices ----


@pytest.fixture
def crowd(there: Tenant, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    """More of everything than a page may hold."""
    for module in (base, choices):
        monkeypatch.setattr(module, "FEW", 5)
    for number in range(25):
        make.key(make.project(there.team), name=f"key {number:02d}", principal=make.principal(there.organization))
    return there


def options(answer: Any, name: str) -> list[tuple[str, bool]]:
    """Value and whether it is chosen, of a select in the page."""
    html = answer.content.decode()
    _before, _, rest = html.partition(f'name="{name}"')
    assert rest, f"no select {name}"
    return [
        (part.partition('"')[0], "selected" in part.partition(">")[0])
        for part in rest.partition("</select>")[0].split('<option value="')[1:]
    ]


def search(client: Client, box: str, term: str = "", **more: str) -> Any:
    """What a box finds; `box`: app.model.field."""
    app, model, field = box.split(".")
    query = {"app_label": app, "model_name": model, "field_name": field, "term": term} | more
    return client.get(reverse("admin:autocomplete"), query)


def texts(answer: Any) -> list[str]:
    def of(results: list[Any]) -> Iterator[str]:
        for one in results:
            yield from of(one["children"]) if "children" in one else [one["text"]]

    return list(of(answer.json()["results"]))


def test_a_long_list_is_searched_and_a_short_one_stands_in_the_page(operator: Client, there: Tenant, crowd: Tenant):
    page = operator.get(reverse("admin:keys_virtualkey_add"))
    assert options(page, "principal") == [("", False)] or options(page, "principal") == [("", True)]
    html = page.content.decode()
    assert html.count("<option") < 40
    assert 'data-field-name="principal"' in html
    assert 'data-field-name="owner_scope"' not in html
    assert "select2.full" in html


def test_what_is_chosen_stands_in_the_form_however_many_there_are(operator: Client, crowd: Tenant):
    person = crowd.principal
    page = operator.get(reverse("admin:keys_virtualkey_add"), {"principal": person.pk})
    assert (person.pk, True) in options(page, "principal")
    key = crowd.key
    page = operator.get(reverse("admin:keys_virtualkey_change", args=[key.pk]))
    assert (person.pk, True) in options(page, "principal")


@pytest.mark.parametrize("kind", ["organization", "team", "project", "principal", "virtual_key", "group"])
def test_a_budget_is_set_on_whatever_is_searched_for(operator: Client, crowd: Tenant, kind: str):
    row = crowd.rows[{"virtual_key": "keys.virtualkey"}.get(kind, f"tenancy.{kind}")]
    value = f"{kind}:{row.pk}"
    found = search(operator, "budgets.budget.scope", str(row))
    ids = [one["id"] for group in found.json()["results"] for one in group["children"]]
    assert value in ids
    answer = operator.post(reverse("admin:budgets_budget_add"), form(scope=value, limit_nano="x"))
    assert (value, True) in options(answer, "scope")  # still chosen beside the error
    assert operator.post(reverse("admin:budgets_budget_add"), form(scope=value)).status_code == 302
    assert Budget.objects.filter(scope_id=row.pk, name="Platform").exists()


def test_a_search_has_pages_and_an_end(operator: Client, crowd: Tenant):
    first = search(operator, "keys.modelalias.key", "key ")
    second = search(operator, "keys.modelalias.key", "key ", page="2")
    named = [*texts(first), *texts(second)]
    assert (len(texts(first)), first.json()["pagination"]["more"]) == (choices.PAGE, True)
    assert second.json()["pagination"]["more"] is False
    assert [name for name in named if name.startswith("key ")] == [f"key {number:02d}" for number in range(25)]
    for page in ("0", "x", "99999", "-1"):
        assert search(operator, "keys.modelalias.key", page=page).status_code == 404
    for term in ("\0", "'", "%", "a" * 5000, "lw_vk_live_"):
        assert search(operator, "keys.modelalias.key", term).status_code in (200, 302)


def test_a_key_is_found_in_a_box_as_in_its_list(operator: Client, crowd: Tenant):
    assert texts(search(operator, "keys.modelalias.key", crowd.key.shown)) == [str(crowd.key)]


def test_a_box_offers_what_its_page_would_and_nothing_of_others(crowd: Tenant):
    foreign = tenant()
    boxes = (
        "keys.virtualkey.project", "keys.virtualkey.principal", "keys.modelalias.key", "keys.modelalias.provider",
        "tenancy.project.team", "tenancy.apitoken.organization", "tenancy.membership.user", "budgets.budget.scope",
        "budgets.budget.provider", "alerts.alertrule.scope_id", "alerts.channel.organization",
    )  # fmt: skip
    filters = ("usage.usagerecord.principal_id", "usage.usagerecord.key_id", "usage.usagerecord.model",
        "keys.virtualkey.project", "keys.virtualkey.team", "budgets.budget.organization")  # fmt: skip
    names = {str(row) for row in foreign.rows.values()} | {str(foreign.provider)}
    for role in Role:
        login = User.objects.get(pk=make.member(crowd.organization, role, crowd.team if "team" in role else None)[0].id)
        client = client_of(login)
        for box in boxes:
            for term in ("", str(foreign.key), str(foreign.principal), foreign.team.name):
                answer = search(client, box, term)
                assert answer.status_code in (200, 404), (role, box)
                if answer.status_code == 200:
                    assert not names & set(texts(answer)) - {str(row) for row in crowd.rows.values()}, (role, box)
        for box in filters:
            answer = search(client, box, filtering="1")
            assert answer.status_code in (200, 404), (role, box)
            if answer.status_code == 200:
                assert foreign.key.pk not in answer.content.decode()
                assert foreign.principal.pk not in answer.content.decode()


def test_a_box_that_no_page_has_does_not_exist(operator: Client, crowd: Tenant):
    for box in ("keys.virtualkey.organization", "keys.virtualkey.nothing", "keys.nothing.x", "tenancy.team.name",
        "auth.user.groups", "..", "usage.usagerecord.session", "changes.auditevent.action"):  # fmt: skip
        assert search(operator, box).status_code == 404, box
    assert search(Client(), "keys.virtualkey.project").status_code == 302


def test_a_filter_keeps_what_is_chosen_and_apply_drops_nothing(operator: Client, crowd: Tenant):
    record(crowd, model="from long ago")
    chosen = {
        "principal_id": crowd.principal.pk, "key_id": crowd.key.pk, "team_id": crowd.team.pk,
        "project_id": crowd.project.pk, "provider_id": "prov_gone", "model": "from long ago", "client": "claude_code",
        "outcome": "ok", "days": "30",
    }  # fmt: skip
    page = operator.get(reverse("admin:usage_usagerecord_changelist"), chosen | {"tag": "cli"})
    for name, value in chosen.items():
        assert (value, True) in options(page, name), name
    assert 'name="tag" value="cli"' in page.content.decode()


def test_a_filter_of_a_list_is_searched_too_and_keeps_the_others(operator: Client, crowd: Tenant):
    page: Any = operator.get(
        reverse("admin:keys_virtualkey_changelist"),
        {"project__id__exact": crowd.project.pk, "state__exact": "active", "q": str(crowd.key)},
    )
    assert list(page.context_data["cl"].result_list) == [crowd.key]
    assert options(page, "project__id__exact") == [("", False), (crowd.project.pk, True)]
    html = page.content.decode()
    assert '<input type="hidden" name="state__exact" value="active">' in html
    assert f'<input type="hidden" name="q" value="{crowd.key}">' in html
    emptied: Any = operator.get(reverse("admin:keys_virtualkey_changelist"), {"project__id__exact": ""})
    assert emptied.context_data["cl"].result_count == 26
