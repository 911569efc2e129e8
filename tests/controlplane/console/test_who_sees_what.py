"""Every admin page × every role × own and foreign objects, from the URL configuration itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from controlplane.changes.actor import Actor
from controlplane.console.addresses import page_of
from controlplane.console.base import ConsoleAdmin, ReadOnlyAdmin
from controlplane.console.site import site
from controlplane.tenancy.permissions import may
from tests.controlplane.console.world import World, world

pytestmark = pytest.mark.django_db


@pytest.fixture
def there() -> World:
    return world()


def named(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(name, route) of every page under /admin/."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from named(pattern.url_patterns, route)
        elif pattern.name:
            yield pattern.name, route


PAGES = dict(named(site.get_urls()))
OBJECT_PAGES = {name: route for name, route in PAGES.items() if "object_id" in route and "auth_user" not in name}


def model_of(name: str) -> str:
    app, model = name.split("_")[:2]
    return f"{app}.{model}"


REACHES = ("owner", "team_admin", "member", "auditor")  # one role for each way of reaching rows


def client_of(login: object) -> Client:
    client = Client()
    client.force_login(login)  # type: ignore[arg-type]
    return client


def test_the_url_configuration_holds_the_pages_that_this_test_is_about():
    assert {"keys_virtualkey_rotate", "keys_virtualkey_revoke", "providers_provider_test"} <= set(OBJECT_PAGES)
    assert len(OBJECT_PAGES) > 40


def test_no_page_opens_without_a_login():
    client = Client()
    for name, route in PAGES.items():
        if name in ("login", "logout", "jsi18n"):
            continue
        arguments = ["keys"] if name == "app_list" else ["x"] * route.count("<")
        answer = client.get(reverse(f"admin:{name}", args=arguments if arguments else None))
        assert answer.status_code == 302, name
        assert "/admin/login/" in answer.headers["Location"], name


def test_a_login_without_a_role_gets_no_further_than_the_login_page(there: World):
    answer = client_of(there.stranger).get(reverse("admin:index"))
    assert answer.status_code == 302
    assert "/admin/login/" in answer.headers["Location"]


def test_a_foreign_object_does_not_exist_for_any_role_on_any_page(there: World):
    for caller in REACHES:
        client = client_of(there.callers()[caller])
        for name in OBJECT_PAGES:
            row = there.foreign.rows.get(model_of(name))
            if row is None:
                continue
            for method in (client.get, client.post) if caller == "owner" else (client.get,):
                for id in (row.pk, quote(row.pk)):
                    answer = method(reverse(f"admin:{name}", args=[id]))
                    assert answer.status_code in (403, 404), (caller, name, id, answer.status_code)
                    assert str(row).encode() not in answer.content, (caller, name, id)


def test_an_own_object_opens_exactly_for_those_whose_role_reaches_it(there: World):
    for caller, login in there.callers().items():
        if caller == "stranger":
            continue
        client, actor = client_of(login), Actor.of_user(login)
        for model, admin in site._registry.items():
            row = there.own.rows.get(model._meta.label_lower)
            if row is None or not isinstance(admin, ConsoleAdmin) or isinstance(admin, ReadOnlyAdmin):
                continue
            page = page_of(row)
            expected = may(actor, admin.view_verb, row)
            status = client.get(page).status_code
            assert (status == 200) == expected, (caller, page, status)
            assert status in (200, 403, 404), (caller, page, status)


def test_lists_hold_nothing_of_another_organization(there: World):
    for caller in REACHES:
        client = client_of(there.callers()[caller])
        for name in PAGES:
            if not name.endswith("_changelist") or name.startswith("auth_user"):
                continue
            answer = client.get(reverse(f"admin:{name}"))
            assert answer.status_code in (200, 403), (caller, name)
            for row in (there.foreign.organization, there.foreign.key, there.foreign.principal, there.foreign.provider):
                assert f">{row}<".encode() not in answer.content, (caller, name, row)
                assert str(row.pk).encode() not in answer.content, (caller, name, row)


def test_forms_offer_nothing_of_another_organization(there: World):
    for caller in REACHES:
        client = client_of(there.callers()[caller])
        for name in PAGES:
            if not name.endswith("_add") or name.startswith("auth_user"):
                continue
            answer = client.get(reverse(f"admin:{name}"))
            assert answer.status_code in (200, 403), (caller, name)
            for row in there.foreign.rows.values():
                assert str(row.pk).encode() not in answer.content, (caller, name, row)


def test_writing_pages_are_closed_to_those_who_only_look(there: World):
    for role in ("viewer", "auditor"):
        client = client_of(there.callers()[role])
        for name, route in PAGES.items():
            row = there.own.rows.get(model_of(name)) if "_" in name else None
            if (
                name.startswith("auth_user")
                or name.rpartition("_")[2]
                not in (
                    "add",
                    "delete",
                    "rotate",
                    "disable",
                    "enable",
                    "revoke",
                    "test",
                )
                or ("object_id" in route and row is None)
            ):
                continue
            address = reverse(
                f"admin:{name}", args=[quote(row.pk)] if "object_id" in route and row is not None else None
            )
            assert client.post(address, {"post": "yes", "grace": "0"}).status_code in (403, 404), (role, name)


def test_everything_opens_for_the_operator(there: World):
    client = client_of(there.operator)
    for name, route in PAGES.items():
        if (
            name in ("logout", "view_on_site", "autocomplete", "app_list", "password_change_done")
            or "auth_user" in name
        ):
            continue
        row = there.own.rows.get(model_of(name)) if "_" in name else None
        if "object_id" in route and row is None:
            continue
        answer = client.get(
            reverse(f"admin:{name}", args=[quote(row.pk)] if "object_id" in route and row is not None else None)
        )
        assert answer.status_code in (200, 302, 403), (name, answer.status_code)
        if answer.status_code == 403:
            assert name.rpartition("_")[2] in ("add", "delete"), name


def test_logins_are_for_operators(there: World):
    page = reverse("admin:auth_user_changelist")
    assert client_of(there.operator).get(page).status_code == 200
    assert client_of(there.callers()["owner"]).get(page).status_code == 403
