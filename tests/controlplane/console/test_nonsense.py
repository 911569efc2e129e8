"""Addresses that make no sense: every list, form and page of an object answers in words, never with an error."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from django.urls import reverse

from controlplane.console.site import site
from tests.controlplane import factories as make
from tests.controlplane.console.test_who_sees_what import OBJECT_PAGES, PAGES, model_of
from tests.controlplane.console.world import Tenant, record, tenant
from tests.grid import part, thinned

pytestmark = pytest.mark.django_db

LISTS = sorted(name for name in PAGES if name.endswith("_changelist"))
VALUES = ("x", "9" * 40, "0001-01-01T00:00:00+23:00", "[]", "\uffff😀'%", "")
IDS = ("\0", "x", "vk_\0", "_", "9" * 60, "'", "😀", "..", "vk_5F")
QUERIES = ("", "scope=x", "scope=%00", "scope=team:%00", "scope=:", "override=%00", "days=%00")
LOOKUPS = (
    "__contains", "__icontains", "__in", "__gt", "__range", "__regex", "__year", "__has_key", "__0", "__name",
    "__password", "__",
)  # fmt: skip
ALONE = (
    "p=-1", "p=x", "p=99999999999999999999", "o=99", "o=-1.x.2", "all=", "e=1", "_facets=1", "_popup=1", "_to_field=id",
    "_changelist_filters=%00", "q=%00", "q=%FF%FE", "q=" + "a+" * 200, "days=x", "days=", "account=x",
    "account=99999999999999999999", "tags__contains=cli", "tags=cli", "tag=%22", "tag=%00", "x=1", "=1", "&&=", "%00=1",
    "q=%22", "q='%22", "__=1", "pk=1", "pk__in=1", "first=1", "filtering=1",
)  # fmt: skip


@pytest.fixture
def there() -> Tenant:
    there = tenant()
    record(there, tags=["cli"])
    return there


@pytest.fixture
def admin() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


def survives(admin: Client, address: str) -> None:
    """The first answer is no error; where a way on is given, it leads to the same list or form."""
    answer = admin.get(address)
    assert answer.status_code < 500, address
    if answer.status_code == 302:
        assert answer.headers["Location"].startswith(address.partition("?")[0]), address


@pytest.mark.parametrize("page", LISTS)
def test_no_question_that_is_asked_of_a_list_is_an_error(admin: Client, there: Tenant, page: str):
    address, number = reverse(f"admin:{page}"), LISTS.index(page)
    for query in ALONE if page.startswith("usage") else ALONE[number % 3 :: 3]:  # each is asked of several lists
        survives(admin, f"{address}?{query}")


@pytest.mark.parametrize("page", LISTS)
def test_no_column_and_no_value_is_an_error(admin: Client, there: Tenant, page: str):
    address = reverse(f"admin:{page}")
    model = next(
        model for model in site._registry if page == f"{model._meta.app_label}_{model._meta.model_name}_changelist"
    )
    names = [field.name for field in model._meta.get_fields()]
    for lookup in LOOKUPS:
        assert admin.get(address, {name + lookup: "x" for name in names}).status_code == 302, lookup
    for number, name in enumerate(names):
        survives(admin, f"{address}?{urlencode({name: VALUES[number % len(VALUES)]})}")
        survives(admin, f"{address}?{urlencode({f'{name}__isnull': VALUES[-1 - number % len(VALUES)]})}")


@pytest.mark.parametrize("page", LISTS)
@thinned(3)
def test_no_value_of_a_filter_is_an_error(admin: Client, there: Tenant, page: str, step: int):
    answer: Any = admin.get(reverse(f"admin:{page}"))
    for number, spec in enumerate(answer.context_data["cl"].filter_specs):
        for name in spec.expected_parameters():
            for value in part(VALUES, number, step):
                survives(admin, f"{reverse(f'admin:{page}')}?{urlencode({name: value})}")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (
            "tags__contains=cli",
            "This list cannot be filtered by “tags__contains”: that was left out. It can by: account",
        ),
        ("nonsense=1&model=gpt-5.5", "This list cannot be filtered by “nonsense”"),
        ("attempt=first", "has a value that this list cannot look for"),
    ],
)
def test_what_a_list_cannot_be_asked_is_said_in_words_and_the_rest_is_kept(
    admin: Client, there: Tenant, query: str, says: str
):
    answer: Any = admin.get(f"{reverse('admin:usage_usagerecord_changelist')}?{query}", follow=True)
    assert answer.status_code == 200
    assert says in answer.content.decode()
    assert answer.context_data["cl"].params == ({"model": "gpt-5.5"} if "model" in query else {})


@pytest.mark.parametrize("id", IDS)
@thinned(3)
def test_no_id_of_an_object_is_an_error(admin: Client, there: Tenant, id: str, step: int):
    for name in part(list(OBJECT_PAGES), IDS.index(id), step):
        if model_of(name) == "auth.user" or name == "view_on_site":
            continue
        address = reverse(f"admin:{name}", args=["IDHERE"]).replace("IDHERE", quote(id, safe=""))
        assert admin.get(address).status_code < 500, address


@pytest.mark.parametrize("query", QUERIES)
@thinned(3)
def test_no_question_that_is_asked_of_another_page_is_an_error(admin: Client, there: Tenant, query: str, step: int):
    for name in part(list(PAGES), QUERIES.index(query), step):
        row = there.rows.get(model_of(name)) if "_" in name else None
        if name in ("logout", "view_on_site", "app_list") or ("<" in PAGES[name] and row is None):
            continue
        arguments = [row.pk] if "<" in PAGES[name] and row is not None else None
        assert admin.get(f"{reverse(f'admin:{name}', args=arguments)}?{query}").status_code < 500, (name, query)


@pytest.mark.parametrize("page", sorted(name for name in PAGES if name.endswith("_add")))
@thinned(5)
def test_no_initial_value_of_a_form_is_an_error(admin: Client, there: Tenant, page: str, step: int):
    answer: Any = admin.get(reverse(f"admin:{page}"))
    if answer.status_code == 403:
        return
    for number, name in enumerate(answer.context_data["adminform"].form.fields):
        for value in part(("x", "\0", "9" * 40, "team:x", ""), number, step):
            survives(admin, f"{reverse(f'admin:{page}')}?{urlencode({name: value})}")
