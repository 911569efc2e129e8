"""Searching: a key by whatever a page shows of it, its requests, its audit; exact ids; no credential is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from controlplane.budgets import partitions
from controlplane.console import search_words
from controlplane.keys import actions as keys
from controlplane.keys.models import VirtualKey
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import ApiToken, Role
from dataplane.core.request_ids import RequestIds
from tests.controlplane import factories as make
from tests.controlplane.console.world import Tenant, record, tenant

pytestmark = pytest.mark.django_db

KEYS = "admin:keys_virtualkey_changelist"
USAGE = "admin:usage_usagerecord_changelist"
AUDIT = "admin:changes_auditevent_changelist"


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


@pytest.fixture
def there() -> Tenant:
    tenant()  # somebody else, who must not be found
    return tenant()


def found(admin: Client, page: str, term: str, **more: str) -> list[Any]:
    answer: Any = admin.get(reverse(page), {"q": term} | more, follow=True)
    return list(answer.context_data["cl"].result_list)


def minted_at(at: datetime) -> str:
    return RequestIds("ses_1", 0).make(int(at.timestamp() * 1000))


# ---- keys ----


def test_a_key_is_found_by_whatever_a_page_shows_of_it(admin: Client):
    organization = make.organization()
    project = make.project(make.team(organization))
    person = make.principal(organization, display_name="Grace Hopper", email="grace@example.com")
    key, token = make.key_and_token(
        project, name="grace-laptop", principal=person, external_id="hr-4711", tags=["cli", "Zürich"]
    )
    make.key(project)
    whole = token.reveal().decode()
    for term in (
        key.public_id, key.public_id.lower(), key.shown, f"{key.shown}…", f"{key.shown}...", whole, whole[:-3],
        f" {whole} ", key.pk, key.pk.lower(), "hr-4711", "grace-laptop", "hopper", "grace@example.com", "cli",
    ):  # fmt: skip
        assert found(admin, KEYS, term) == [key], term


def test_a_key_is_found_by_an_old_secret_while_it_is_still_valid(admin: Client):
    key, old = make.key_and_token()
    keys.rotate(key, by=make.SYSTEM, grace=timedelta(hours=24))
    leaked = old.reveal().decode()
    public_id = leaked.removeprefix("lw_vk_live_")[:10]
    assert VirtualKey.objects.get(pk=key.pk).public_id != public_id
    for term in (public_id, f"lw_vk_live_{public_id}…", leaked):
        assert found(admin, KEYS, term) == [key], term


def test_an_api_token_is_found_by_its_prefix_and_as_a_whole(admin: Client):
    row, token = tenancy.mint_token(by=make.SYSTEM, organization=make.organization(), name="script")
    whole = token.reveal().decode()
    for term in (row.shown, f"{row.shown}…", row.public_id.lower(), whole):
        assert found(admin, "admin:tenancy_apitoken_changelist", term) == [row], term
    assert ApiToken.objects.count() == 1


def test_other_secrets_are_found_by_the_end_that_their_pages_show(admin: Client, there: Tenant):
    provider = there.provider
    page = "admin:providers_provider_changelist"
    assert found(admin, page, provider.credential_fingerprint) == [provider]
    assert provider in found(admin, page, provider.credential_last4)


def test_the_requests_and_the_audit_of_a_key_are_found_by_it(admin: Client, there: Tenant):
    key, old = make.key_and_token(there.project)
    keys.rotate(key, by=make.SYSTEM, grace=timedelta(hours=24))
    key.refresh_from_db()
    row = record(there, key_id=key.pk)
    leaked = old.reveal().decode()
    for term in (key.shown, key.public_id.lower(), leaked, leaked.removeprefix("lw_vk_live_")[:10], key.pk):
        assert found(admin, USAGE, term) == [row], term
        assert {event.target_id for event in found(admin, AUDIT, term)} == {key.pk}, term
    old_row = record(there, key_id=key.pk, started_at=timezone.now() - timedelta(days=20))
    assert found(admin, USAGE, key.shown) == [row]  # a key's requests are of the period
    assert found(admin, USAGE, key.shown, days="30") == [row, old_row]


def test_nobody_finds_another_organizations_key_or_its_requests(there: Tenant):
    login = make.member(there.organization, Role.OWNER)[0]
    client = Client()
    client.force_login(User.objects.get(pk=login.id))
    foreign, token = make.key_and_token()
    record(there, key_id=foreign.pk, organization_id=foreign.organization_id)
    for page in (KEYS, USAGE, AUDIT):
        assert found(client, page, token.reveal().decode()) == [], page


# ---- what was pasted is not kept ----


@pytest.mark.parametrize("page", [KEYS, USAGE, AUDIT, "admin:index", "admin:login", "admin:tenancy_team_changelist"])
@pytest.mark.parametrize("name", ["q", "next", "model"])
def test_a_whole_credential_in_an_address_leads_to_the_cut_one(admin: Client, page: str, name: str):
    token = make.key_and_token()[1].reveal().decode()
    shown = token[: len("lw_vk_live_") + 10]
    for sent in (token, token.lower(), f"/admin/?q={token}", token[:-8]):
        answer = admin.get(reverse(page), {name: sent})
        assert answer.status_code == 302, sent
        assert token[len(shown) :] not in answer.headers["Location"].upper()
        assert shown.lower() in answer.headers["Location"].lower()
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_pasted_credential_is_in_no_page_message_or_log(admin: Client, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    token = make.key_and_token()[1].reveal().decode()
    for page in (KEYS, USAGE, AUDIT):
        answer = admin.get(reverse(page), {"q": token}, follow=True)
        assert answer.status_code == 200
        assert token[-16:] not in answer.content.decode()
    anonymous = Client().get(reverse(KEYS), {"q": token})
    assert token[-16:] not in anonymous.headers["Location"]
    assert token[-16:] not in caplog.text


def test_pages_cut_with_the_same_pattern_as_we_do():
    script = (Path(search_words.__file__).parent / "static/console/console.js").read_text()
    assert f"/{search_words.CREDENTIAL}/gi" in script


def test_only_credentials_are_cut():
    for text in ("lw_vk_live_9ZB539HRQW", "lw_vk_live_9ZB539HRQW…", "grace-laptop", "req_" + "0" * 30, "vk_01M8P6E381"):
        assert search_words.without_secrets(text) == text
    assert search_words.searchable("lw_at_9ZB539HRQW...") == "9ZB539HRQW"


# ---- exact ids ----


def test_an_exact_id_is_found_at_any_age_whatever_period_is_chosen(admin: Client, there: Tenant):
    at = datetime(2025, 3, 9, 8, tzinfo=UTC)
    row = record(
        there, request_id=minted_at(at), started_at=at, trace_id="c" * 32, session="sess-1", provider_request_id="msg_1"
    )
    record(there)
    for term in (row.request_id, row.trace_id, row.session, row.provider_request_id):
        for days in ({}, {"days": "7"}, {"days": "1"}):
            assert found(admin, USAGE, term, **days) == [row], term
    page: Any = admin.get(reverse(USAGE), {"q": row.session, "days": "7"})
    assert '<option value="all" selected>' in page.content.decode()


def test_an_id_that_does_not_exist_says_so_in_words(admin: Client, there: Tenant):
    def words(**query: str) -> str:
        return str(admin.get(reverse(USAGE), query, follow=True).content.decode())

    missing = minted_at(timezone.now())
    assert f"No request has the id “{missing}”" in words(q=missing)
    assert f"No request with the filters above has the id “{missing}”" in words(q=missing, model="gpt-5.5")
    assert "No key is shown as" in words(q="lw_vk_live_0000000000")
    unused = make.key(there.project)
    assert f"The key {unused.public_id} has no request in this period" in words(q=unused.shown)
    assert "No request" not in words(model="none-such")


def test_a_request_id_says_its_month_and_one_part_of_the_ledger_is_read(admin: Client, there: Tenant):
    if not partitions.partitioned():
        pytest.skip("SQLite has plain tables")
    wanted = minted_at(timezone.now())
    with CaptureQueriesContext(connection) as asked:
        found(admin, USAGE, wanted)
    reads = [
        query["sql"] for query in asked if '"request_id" = ' in query["sql"] and "usage_usagerecord" in query["sql"]
    ]
    assert reads
    assert all('"month" = ' in sql for sql in reads)


# ---- tags ----


def test_the_ledger_is_filtered_by_an_exact_tag_on_either_database(admin: Client, there: Tenant):
    cli = record(there, tags=["cli", "team a"])
    odd = record(there, tags=['say "cli", twice', "Zürich", "CLI"])
    record(there, tags=["client"])
    for name in ("tag", "tags"):
        assert found(admin, USAGE, "", **{name: "cli"}) == [cli]
        assert found(admin, USAGE, "", **{name: "CLI"}) == [odd]
        assert found(admin, USAGE, "", **{name: "Zürich"}) == [odd]
        assert found(admin, USAGE, "", **{name: 'say "cli", twice'}) == [odd]
        assert found(admin, USAGE, "", **{name: "li"}) == []
