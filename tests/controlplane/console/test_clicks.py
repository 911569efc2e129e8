"""By the links that pages print: every list into its first row, for every role, with exactly its buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from controlplane import console
from controlplane.changes.actor import Actor
from controlplane.changes.models import AuditEvent
from controlplane.console.addresses import page_of
from controlplane.fleet.models import Eviction, Pod
from controlplane.keys.models import KeyState
from controlplane.tenancy.models import Role
from controlplane.usage.models import UsageRecord
from tests.controlplane import factories as make
from tests.controlplane.console.buttons import BUTTONS, LISTS, buttons_for, lists_of, offered
from tests.controlplane.console.reading import Page, list_of, row_of, rows_of, text_of
from tests.controlplane.console.world import WALKERS, World, busy_world, pod, record, tenant

pytestmark = pytest.mark.django_db

# What Django quotes, what URLs escape, what looks quoted and is not.
IDS = (
    "pod_1", "pod_0A1", "pod_5F2F", "a@example.com", "a/b:c;d", 'x?y#z&"<>%', "with space", "löwe", "_", "%5F", "add",
    "01930b0e-7c1d-7000-8000-0242ac120002",
)  # fmt: skip


@pytest.fixture
def there() -> World:
    return busy_world()


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


def client_of(login: User) -> Client:
    client = Client()
    client.force_login(login)
    return client


@pytest.mark.parametrize("role", WALKERS)
def test_every_list_leads_to_a_row_with_exactly_the_buttons_of_the_role(there: World, role: Role):
    login = there.logins[role]
    client, actor = client_of(login), Actor.of_user(login)
    home = Page(text_of(client.get(reverse("admin:index"))))
    expected = lists_of(role)
    sidebar = {words for words, *_ in LISTS}
    assert {press.words for press in home.presses if press.words in sidebar} == set(expected)
    for words, (label, adds) in expected.items():
        model = apps.get_model(label)
        listed = Page(text_of(client.get(list_of(model))))
        assert bool(listed.leads_to(f"{list_of(model)}add/")) == adds, (words, "add")
        addresses = rows_of(client, model)
        assert addresses, f"{role} sees no row under {words}"
        answer: Any = client.get(addresses[0])
        assert answer.status_code == 200, (words, addresses[0])
        page = Page(text_of(answer))
        row = answer.context_data["original"]
        assert offered({press.words for press in page.presses}) == buttons_for(actor, role, row), words
        for press in page.leads_to(addresses[0].removesuffix("change/")):
            assert client.get(press.address).status_code == 200, press


def test_the_operator_opens_the_first_row_of_every_list(there: World):
    client = client_of(there.operator)
    pod(certificate="c" * 64, name="a")
    for words, label, *_ in LISTS:
        address = rows_of(client, apps.get_model(label))[0]
        answer: Any = client.get(address)
        assert answer.status_code == 200, words
        buttons = offered({press.words for press in Page(text_of(answer)).presses})
        assert buttons == {one for one, _ in BUTTONS[label]}, words


@pytest.mark.parametrize("id", IDS)
def test_a_pod_of_any_name_is_reached_and_evicted_by_clicking(operator: Client, id: str):
    row = pod(pod_id=id, certificate="c" * 64)
    page = Page(text_of(operator.get(row_of(operator, row))))
    (evict,) = [press.address for press in page.presses if press.words == "Evict…"]
    answer = operator.post(evict)
    assert Eviction.objects.get().pod_id == id
    assert operator.get(answer.headers["Location"]).status_code == 200
    assert answer.headers["Location"] == row_of(operator, row)


@pytest.mark.parametrize("id", IDS)
def test_a_request_of_any_id_has_its_page(operator: Client, id: str):
    made = record(tenant(), id=id, trace_id="f" * 32)
    answer = operator.get(row_of(operator, made))
    assert answer.status_code == 200
    assert "f" * 32 in text_of(answer)


def test_two_ids_that_quote_alike_are_two_rows(operator: Client):
    rows = [pod(pod_id="a_5Fb", name="quoted"), pod(pod_id="a_b", name="plain")]
    for row in rows:
        answer: Any = operator.get(page_of(row))
        assert answer.context_data["original"] == row


def test_integer_ids_and_text_that_is_no_id(operator: Client):
    login = make.user()
    assert operator.get(row_of(operator, login)).status_code == 200
    for id in ("0", "-1", "x", "9" * 30, "1_5F", "%00"):
        assert operator.get(f"/admin/auth/user/{id}/change/").status_code == 404, id
        assert operator.get(f"/admin/keys/virtualkey/{id}/change/").status_code == 404, id


def test_the_way_from_a_key_to_its_history_rotation_and_end(operator: Client):
    key = make.key()
    address = row_of(operator, key)
    history = operator.get(address.replace("/change/", "/history/"))
    listed = text_of(operator.get(history.headers["Location"]))
    assert "virtual_key.minted" in listed
    assert len(rows_of(operator, AuditEvent)) == AuditEvent.objects.count()
    presses = {press.words: press.address for press in Page(text_of(operator.get(address))).presses}
    assert operator.get(presses["Set up a CLI"]).status_code == 200
    live = operator.post(presses["Revoke…"], {"streams": "cut"}).headers["Location"]
    shown = text_of(operator.get(live))
    assert "is revoked" in shown
    poll = shown.partition('data-convergence="')[2].partition('"')[0]
    assert operator.get(poll).json()["revision"] > 0
    assert address in shown
    key.refresh_from_db()
    assert key.state == KeyState.REVOKED


def test_a_row_is_deleted_by_clicking(operator: Client):
    alias = tenant().rows["keys.modelalias"]
    (delete,) = Page(text_of(operator.get(row_of(operator, alias)))).leads_to("/delete/")
    assert operator.get(delete.address).status_code == 200
    assert operator.post(delete.address, {"post": "yes"}).status_code == 302
    assert not type(alias)._default_manager.filter(pk=alias.pk).exists()


def test_rows_link_to_each_other_with_quoted_ids(operator: Client):
    made = tenant()
    page = text_of(operator.get(list_of(type(made.key))))
    assert reverse("admin:tenancy_project_change", args=[quote(made.project.pk)]) in page
    assert made.project.pk not in "".join(press.address for press in Page(page).presses)
    first = UsageRecord.objects.get()
    again = record(made, request_id=first.request_id, attempt=2)
    page = text_of(operator.get(row_of(operator, again)))
    assert page_of(first) in {press.address for press in Page(page).presses}


def test_pages_look_rows_up_by_the_address_and_make_addresses_in_one_place():
    """`get_object` takes a row's id, `find` and `row_at` what stands in an address; `page_of` quotes."""
    here = Path(str(console.__file__)).parent
    for path in here.rglob("*.py"):
        text = path.read_text()
        assert path.name == "base.py" or ".get_object(" not in text, f"{path.name}: find() or row_at()"
        assert path.name == "addresses.py" or "args=[" not in text, f"{path.name}: page_of()"


def test_pods_with_every_id_are_distinct():
    for id in IDS:
        pod(pod_id=id)
    assert Pod.objects.count() == len(IDS)
