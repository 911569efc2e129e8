"""The command palette finds what the lists hold for a person, and nothing else."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from controlplane.console.addresses import page_of
from controlplane.console.palette import MOST_OF_A_KIND
from controlplane.tenancy.actions import end_membership
from controlplane.tenancy.models import Membership, Role
from tests.controlplane import factories as make
from tests.controlplane.console.buttons import LISTS, lists_of
from tests.controlplane.console.reading import Page, list_of, text_of
from tests.controlplane.console.world import WALKERS, World, busy_world, record

pytestmark = pytest.mark.django_db


@pytest.fixture
def there() -> World:
    return busy_world()


def client_of(login: User) -> Client:
    client = Client()
    client.force_login(login)
    return client


def found(client: Client, term: str) -> list[str]:
    """The addresses of the lines."""
    answer = client.get(reverse("admin:search"), {"s": term}, follow=True)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    return [press.address for press in Page(text_of(answer)).presses]


@pytest.mark.parametrize("role", WALKERS)
def test_every_page_holds_the_palette_for_everybody_who_may_enter(there: World, role: Role):
    login = there.logins[role]
    assert not login.is_staff
    page = text_of(client_of(login).get(reverse("admin:index")))
    assert 'id="search-input-command"' in page
    assert 'id="search-input-command"' not in text_of(Client().get(reverse("admin:login")))


@pytest.mark.parametrize("role", WALKERS)
def test_pages_are_found_by_title_as_far_as_the_role_opens_them(there: World, role: Role):
    client = client_of(there.logins[role])
    for words, label, *_ in LISTS:
        expected = words in lists_of(role)
        assert (list_of(apps.get_model(label)) in found(client, words.lower())) == expected, words


def test_rows_are_found_by_what_their_lists_are_searched_for(there: World):
    own, owner = there.own, client_of(there.logins[Role.OWNER])
    assert page_of(own.key) in found(owner, own.key.name.lower())
    assert page_of(own.key) in found(owner, own.key.public_id)
    assert page_of(own.principal) in found(owner, own.principal.email)
    assert page_of(own.project) in found(owner, own.project.pk)
    assert page_of(own.rows["budgets.budget"]) in found(owner, "project's month")
    request = record(own, request_id="req_0194f3c8b1a0" + "7" * 18, trace_id="ab" * 16)
    assert found(owner, request.request_id) == [page_of(request)]
    assert found(owner, request.trace_id) == [page_of(request)]


@pytest.mark.parametrize("role", WALKERS)
def test_nobody_finds_a_row_of_another_organization(there: World, role: Role):
    client, foreign = client_of(there.logins[role]), there.foreign
    request = record(foreign, request_id="req_0194f3c8b1a0" + "7" * 18, trace_id="cd" * 16)
    terms = {foreign.key.name, foreign.key.public_id, foreign.principal.email, request.request_id, request.trace_id}
    for row in foreign.rows.values():
        terms |= {str(row), str(row.pk)}
    addresses = {page_of(row) for row in foreign.rows.values() if _has_page(row._meta.label_lower)}
    assert len(addresses) > 12
    for term in terms:
        assert not addresses & set(found(client, term)), (role, term)


def _has_page(label: str) -> bool:
    return label in {one for _, one, *_ in LISTS}


def test_a_member_finds_their_own_key_and_not_a_colleagues(there: World):
    member = client_of(there.logins[Role.MEMBER])
    assert len(found(member, "grace-laptop")) == 1
    assert found(member, there.own.key.name) == []
    assert found(member, there.own.provider.name) == []
    assert found(client_of(there.logins[Role.OWNER]), there.logins[Role.MEMBER].username)[0].startswith(
        "/admin/tenancy/"
    )


def test_a_role_that_was_taken_away_takes_its_rows_along_at_once(there: World):
    login = there.logins[Role.AUDITOR]
    client = client_of(login)
    assert found(client, there.own.key.name)
    make.member(make.organization(), Role.OWNER)
    end_membership(Membership.objects.get(user=login), by=make.SYSTEM)
    assert client.get(reverse("admin:search"), {"s": there.own.key.name}).status_code == 302


def test_what_is_searched_for_and_what_is_found_is_bounded(there: World):
    owner = client_of(there.logins[Role.OWNER])
    for number in range(2 * MOST_OF_A_KIND):
        make.key(there.own.project, name=f"many-{number}")
    assert len(found(owner, "many-")) == MOST_OF_A_KIND
    for term in ("", " ", "x", "\x00", "%00", "'" * 5000, "löwe", "<script>"):
        assert isinstance(found(owner, term), list)
    with CaptureQueriesContext(connection) as queries:
        found(owner, "organization")
    assert len(queries) < 60


def test_a_pasted_key_is_searched_for_by_what_every_page_shows(there: World):
    owner = client_of(there.logins[Role.OWNER])
    with CaptureQueriesContext(connection) as queries:
        found(owner, f"lw_vk_live_{there.own.key.public_id}{'S' * 32}")
    assert "SSSS" not in str(queries.captured_queries)
