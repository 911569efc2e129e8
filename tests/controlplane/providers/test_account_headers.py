"""Whose account at a provider a request is for: the provider's row says it, and its kind checks that."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from controlplane.console.providers.form import ProviderForm
from controlplane.fleet.state.compile import SOURCES
from controlplane.providers import actions
from controlplane.providers.kinds import KINDS
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from dataplane.providers.registry import KINDS as UPSTREAM_KINDS
from tests.controlplane import factories
from tests.controlplane.providers.test_probe import Upstream, provider, upstream

__all__ = ["upstream"]

SYSTEM = factories.SYSTEM


@pytest.mark.parametrize("kind", ProviderKind)
def test_both_planes_know_the_same_names(kind):
    assert set(KINDS[kind].account_headers) == UPSTREAM_KINDS[kind].account_headers
    assert all(name == name.lower() for name in KINDS[kind].account_headers)


def test_what_an_admin_says_is_what_pods_get(db):
    row = factories.provider(
        kind=ProviderKind.OPENAI,
        account_headers={"OpenAI-Project": " proj_1 ", "openai-organization": "org-Abc"},
    )
    assert row.account_headers == {"openai-organization": "org-Abc", "openai-project": "proj_1"}
    (source,) = [source for source in SOURCES.values() if source.rows().model is type(row)]
    sent: Any = source.compile(row)
    assert sent.account_headers == (("openai-organization", "org-Abc"), ("openai-project", "proj_1"))
    actions.update_provider(row, by=SYSTEM, account_headers={})
    sent = source.compile(row)
    assert sent.account_headers == ()


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"authorization": "x"}, "it takes openai-organization"),
        ({"x-goog-user-project": "p"}, "chooses no account of OpenAI"),
        ({"openai-project": "a b"}, "is an id"),
        ({"openai-project": "a\r\nx: y"}, "is an id"),
        ({"openai-project": ""}, "is an id"),
        ({"openai-project": "p" * 129}, "is an id"),
        ({"openai-project": "é"}, "is an id"),
        ({"openai-project": 7}, "is an id"),
        ({"openai-project": "a", "OpenAI-Project": "b"}, "is there twice"),
        ({"openai-project": "sk-proj-abcdefgh"}, "looks like a secret"),
        ({"openai-project": "lw_vk_live_0"}, "looks like a secret"),
        (["openai-project"], "maps names"),
    ],
)
def test_what_chooses_no_account_is_refused_in_words_without_its_value(db, headers, words):
    with pytest.raises(ValidationError, match=words) as refused:
        factories.provider(kind=ProviderKind.OPENAI, account_headers=headers)
    assert "sk-proj-abcdefgh" not in str(refused.value)


def test_the_credential_is_no_account(db):
    row = factories.provider(kind=ProviderKind.OPENAI, account_headers={"openai-project": "proj_1"})
    with pytest.raises(ValidationError, match="the credential itself"):
        actions.set_credential(row, by=SYSTEM, credential=Secret("proj_1"))
    row.refresh_from_db()
    assert not actions.has_credential(row, Secret("proj_1"))


def test_the_test_button_asks_the_same_account(db, upstream: Upstream):
    row = provider(upstream, ProviderKind.OPENAI)
    actions.update_provider(row, by=SYSTEM, account_headers={"openai-project": "proj_1"})
    assert actions.test_provider(row, by=SYSTEM).ok
    [(_, headers)] = upstream.seen
    assert headers["openai-project"] == "proj_1"


def test_the_form_takes_lines_and_names_the_headers_of_each_kind(db):
    form = ProviderForm()
    assert "OpenAI: openai-organization, openai-project" in str(form.fields["account_headers"].help_text)
    assert form.fields["account_headers"].clean("openai-project = proj_1\n") == {"openai-project": "proj_1"}
