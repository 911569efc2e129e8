"""What pages call themselves, what an empty list says, and a way past the sidebar on each."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from controlplane.console.addresses import page_of
from controlplane.pages.wording import counted
from controlplane.tenancy.models import Role
from tests.controlplane import factories as make
from tests.controlplane.console.buttons import LISTS
from tests.controlplane.console.reading import Page, list_of, row_of, text_of
from tests.controlplane.console.world import pod, tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


def title_of(answer: Any) -> str:
    found = re.search(r"<title>(.*?)</title>", text_of(answer), re.DOTALL)
    assert found is not None
    return " ".join(found[1].split())


def words_of(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text_of(answer)).split())


def test_a_list_is_titled_as_the_sidebar_calls_it(admin: Client):
    for words, label, *_ in LISTS:
        assert title_of(admin.get(list_of(apps.get_model(label)))) == f"{words} | AI Gateway"


def test_a_form_for_something_new_says_so_in_its_title_its_header_and_the_button_that_leads_to_it(admin: Client):
    for label, name in (("keys.virtualkey", "virtual key"), ("tenancy.apitoken", "API token"), ("auth.user", "login")):
        model = apps.get_model(label)
        (new,) = [press for press in Page(text_of(admin.get(list_of(model)))).presses if press.words == f"New {name}"][
            :1
        ]
        answer = admin.get(new.address)
        assert title_of(answer) == f"New {name} | AI Gateway"
        header = text_of(answer).partition("<h1")[2].partition("</h1>")[0]
        assert f"New {name}" in header


def test_the_page_of_a_row_is_titled_by_its_name(admin: Client):
    key = make.key(name="ann-laptop")
    assert title_of(admin.get(row_of(admin, key))) == "ann-laptop | Virtual key | AI Gateway"


def test_the_header_leads_back_to_the_row_whatever_its_id(admin: Client):
    row = pod(pod_id="pod_0A1", certificate="c" * 64)
    question = Page(text_of(admin.get(page_of(row, "evict"))))
    assert page_of(row) in {press.address for press in question.presses}


def test_an_empty_list_and_a_filter_that_nothing_passes_are_two_things(admin: Client):
    groups = reverse("admin:tenancy_group_changelist")
    empty = admin.get(groups)
    assert "Nothing here yet New group" in words_of(empty)
    tenant()
    assert "Nothing matches No row that you may see is what you asked for. Show all" in words_of(
        admin.get(groups, {"q": "nobody"})
    )
    actor, _ = make.member(make.organization(), Role.AUDITOR)
    auditor = Client()
    auditor.force_login(apps.get_model("auth.user")._default_manager.get(pk=actor.id))
    assert "When there is something that you may see, it stands here." in words_of(auditor.get(groups))
    for answer in (empty, admin.get(groups, {"q": "nobody"})):
        assert "yielded" not in text_of(answer)


def test_a_wrong_password_is_not_about_staff():
    said = words_of(Client().post(reverse("admin:login"), {"username": "ada", "password": "wrong"}))
    assert "The username or the password is wrong" in said
    assert "staff" not in said


def test_every_frame_has_one_main_part_and_a_way_to_it(admin: Client):
    for answer in (admin.get(reverse("admin:index")), admin.get(reverse("admin:keys_virtualkey_add"))):
        assert text_of(answer).count("<main") == 1
        first = Page(text_of(answer)).presses[0]
        assert (first.words, first.address) == ("Skip to the content", "#main")
    assert text_of(Client().get(reverse("admin:login"))).count("<main") == 1


def test_what_is_refused_to_be_deleted_is_said_on_the_rows_page(admin: Client):
    _, last_owner = make.member(make.organization(), Role.OWNER)
    answer = admin.post(page_of(last_owner, "delete"), {"post": "yes"})
    assert answer.headers["Location"] == page_of(last_owner)
    assert "the last owner of an organization stays its owner" in words_of(admin.get(page_of(last_owner)))


@pytest.mark.parametrize(
    ("number", "says"), [(0, "0 people"), (1, "1 person"), (2, "2 people"), (12_345, "12.3 k people")]
)
def test_one_person_is_not_people(number: int, says: str):
    assert counted(number, "person", "people") == says
    assert counted(1, "request") == "1 request"
    assert counted(2, "request") == "2 requests"


def test_the_totals_of_one_request_of_one_person(admin: Client):
    tenant()
    assert "1 request, 1,100 tokens, $0.0045, 1 person" in words_of(
        admin.get(reverse("admin:usage_usagerecord_changelist"))
    )
