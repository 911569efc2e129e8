"""A key's text is in the answer to the POST that made it, and nowhere else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse, reverse_lazy

from controlplane.changes.models import AuditEvent
from controlplane.console.addresses import page_of
from controlplane.keys.models import KeyState, VirtualKey
from controlplane.pages.recipes import RECIPES
from controlplane.tenancy.models import ApiToken
from tests.controlplane import factories as make
from tests.controlplane.console.reading import form_token

pytestmark = pytest.mark.django_db
TOKEN = re.compile(r"lw_vk_live_[0-9A-Z]{42}")


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True))
    return client


@pytest.fixture
def key(db: None) -> VirtualKey:
    return make.key()


ADD = reverse_lazy("admin:keys_virtualkey_add")
ADD_TOKEN = reverse_lazy("admin:tenancy_apitoken_add")


def form(**values: str) -> dict[str, str]:
    return {"name": "laptop", "owner_scope": "project", "key_environment": "live"} | values


def mint(admin: Client, **values: str) -> tuple[Any, str]:
    project = make.project()
    answer = admin.post(ADD, form(project=project.pk, **form_token(admin, str(ADD)), **values))
    assert answer.status_code == 200, answer
    tokens = set(TOKEN.findall(answer.content.decode()))
    assert len(tokens) == 1, answer
    return answer, tokens.pop()


def test_minting_answers_with_the_key_itself_and_forbids_storing_it(admin: Client):
    answer, token = mint(admin)
    assert "no-store" in answer.headers["Cache-Control"]
    assert VirtualKey.objects.get().public_id in token


def test_the_page_sets_up_every_cli_with_the_key_filled_in(admin: Client):
    answer, token = mint(admin)
    text = answer.content.decode()
    for recipe in RECIPES:
        assert f'data-tab="{recipe.name}"' in text
    assert f"ANTHROPIC_AUTH_TOKEN={token}" in text
    assert "CLAUDE_CODE_MAX_RETRIES=2" in text
    assert "request_max_retries = 0" in text


def test_the_key_is_in_no_session_message_audit_or_later_page(admin: Client):
    _, token = mint(admin)
    secret = token.removeprefix("lw_vk_live_")[10:]
    key = VirtualKey.objects.get()
    later = [page_of(key, name) for name in ("change", "setup", "live", "rotate", "revoke")]
    later += [
        reverse("admin:index"),
        reverse("admin:keys_virtualkey_changelist"),
        reverse("admin:changes_auditevent_changelist"),
    ]
    for address in later:
        assert secret not in admin.get(address).content.decode(), address
    for session in Session.objects.all():
        assert secret not in str(session.get_decoded())
    for event in AuditEvent.objects.all():
        assert secret not in str((event.before, event.after, event.details, event.target_label))
    assert not any(secret in str(morsel) for morsel in admin.cookies.values())


def test_the_setup_page_has_a_placeholder_in_place_of_the_key(admin: Client, key: VirtualKey):
    text = admin.get(page_of(key, "setup")).content.decode()
    assert "&lt;your virtual key&gt;" in text
    assert not TOKEN.findall(text)


def test_rotating_shows_the_new_secret_the_same_way(admin: Client, key: VirtualKey):
    before = key.public_id
    answer = admin.post(page_of(key, "rotate"), {"grace": "0"} | form_token(admin, page_of(key, "rotate")))
    assert "no-store" in answer.headers["Cache-Control"]
    (token,) = set(TOKEN.findall(answer.content.decode()))
    key.refresh_from_db()
    assert key.public_id in token
    assert key.public_id != before
    assert [secret.public_id for secret in make.working_secrets(key)] == [key.public_id]


@pytest.mark.parametrize(("chosen", "cuts", "remark"), [("0", 0, "go on to their end"), ("0-cut", 1, "are ended")])
def test_rotating_without_grace_says_what_becomes_of_running_answers(
    admin: Client, key: VirtualKey, chosen: str, cuts: int, remark: str
):
    question = admin.get(page_of(key, "rotate")).content.decode()
    assert "go on to their end" in question
    assert "for a secret that leaked" in question
    answer = admin.post(page_of(key, "rotate"), {"grace": chosen} | form_token(admin, page_of(key, "rotate")))
    assert remark in answer.content.decode()
    key.refresh_from_db()
    assert key.cuts == cuts


def test_disabling_offers_to_cut_what_runs(admin: Client, key: VirtualKey):
    assert "What about answers that are running now?" in admin.get(page_of(key, "disable")).content.decode()
    admin.post(page_of(key, "disable"), {"reason": "leaked", "streams": "cut"})
    key.refresh_from_db()
    assert (key.state, key.disabled_reason, key.cuts) == (KeyState.DISABLED, "leaked", 1)


def test_a_grace_that_the_page_does_not_offer_is_refused_with_words(admin: Client, key: VirtualKey):
    answer = admin.post(page_of(key, "rotate"), {"grace": "1000"} | form_token(admin, page_of(key, "rotate")))
    assert "Choose how long" in answer.content.decode()
    assert not TOKEN.findall(answer.content.decode())
    assert key.secrets.count() == 1


def test_asking_changes_nothing(admin: Client, key: VirtualKey):
    for name in ("rotate", "disable", "enable", "revoke"):
        assert admin.get(page_of(key, name)).status_code == 200
    key.refresh_from_db()
    assert key.state == KeyState.ACTIVE
    assert key.secrets.count() == 1


def test_revoking_says_what_will_happen_then_shows_how_far_it_got(admin: Client, key: VirtualKey):
    question = admin.get(page_of(key, "revoke")).content.decode()
    assert "cannot be taken back" in question
    assert "within a minute" in question
    answer = admin.post(page_of(key, "revoke"), {"streams": "cut"})
    assert answer.status_code == 302
    assert answer.headers["Location"] == page_of(key, "live")
    key.refresh_from_db()
    assert (key.state, key.cut) == (KeyState.REVOKED, True)
    assert "is revoked" in admin.get(page_of(key, "live")).content.decode()


def test_a_longer_freshness_bound_is_said_beside_revoke(admin: Client):
    organization = make.organization(freshness_bound_s=600)
    key = make.key(make.project(make.team(organization)))
    assert "600 s" in admin.get(page_of(key, "revoke")).content.decode()


def test_disabling_keeps_the_reason_and_enabling_takes_it_back(admin: Client, key: VirtualKey):
    admin.post(page_of(key, "disable"), {"reason": "on leave"})
    key.refresh_from_db()
    assert (key.state, key.disabled_reason) == (KeyState.DISABLED, "on leave")
    admin.post(page_of(key, "enable"))
    key.refresh_from_db()
    assert (key.state, key.disabled_reason) == (KeyState.ACTIVE, "")


def test_a_revoked_key_offers_nothing_to_press(admin: Client, key: VirtualKey):
    admin.post(page_of(key, "revoke"), {"streams": "cut"})
    text = admin.get(page_of(key)).content.decode()
    for name in ("rotate", "disable", "enable", "setup"):
        assert page_of(key, name) not in text
    said = {"grace": "0"} | form_token(admin, page_of(key, "rotate"))
    assert not TOKEN.findall(admin.post(page_of(key, "rotate"), said).content.decode())
    assert key.secrets.count() == 1


def test_what_an_action_refuses_stands_at_its_field(admin: Client):
    project = make.project()
    answer: Any = admin.post(
        ADD, form(project=project.pk, expires_at_0="2020-01-01", expires_at_1="00:00", **form_token(admin, str(ADD)))
    )
    assert not TOKEN.findall(answer.content.decode())
    assert "must lie in the future" in answer.content.decode()
    assert "expires_at" in answer.context_data["adminform"].form.errors
    assert not VirtualKey.objects.exists()


def test_limits_are_typed_line_by_line(admin: Client):
    mint(admin, models_allowed="claude-*\n gpt-5.5 ", tags="red, blue", metadata="cost_centre = 4711")
    key = VirtualKey.objects.get()
    assert key.models_allowed == ["claude-*", "gpt-5.5"]
    assert key.tags == ["red", "blue"]
    assert key.metadata == {"cost_centre": "4711"}


def test_saving_a_key_changes_only_what_was_changed(admin: Client, key: VirtualKey):
    answer: Any = admin.post(page_of(key), {"name": "desk", "project": key.project_id, "models_allowed": "gpt-*"})
    assert answer.status_code == 302, answer.context_data["errors"]
    event = AuditEvent.objects.order_by("-pk").first()
    assert event is not None
    assert event.action == "virtual_key.updated"
    assert event.after == {"name": "desk", "models_allowed": ["gpt-*"]}


def test_an_api_token_is_shown_once_too(admin: Client):
    organization = make.organization()
    said = {"organization": organization.pk, "name": "ci", "role": "viewer"}
    answer = admin.post(ADD_TOKEN, said | form_token(admin, str(ADD_TOKEN)))
    (token,) = set(re.findall(r"lw_at_[0-9A-Z]{42}", answer.content.decode()))
    assert "no-store" in answer.headers["Cache-Control"]
    row = ApiToken.objects.get()
    change = page_of(row)
    assert token not in admin.get(change).content.decode()
    admin.post(page_of(row, "revoke"))
    row.refresh_from_db()
    assert row.revoked_at is not None
