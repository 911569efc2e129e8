"""A kind of provider brings its own fields and its own test call; nobody else asks which kind it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from controlplane import providers
from controlplane.providers import actions, gate, probe, ssrf
from controlplane.providers.kinds import KINDS
from controlplane.providers.kinds.kind import OwnFields
from controlplane.providers.models import Provider
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from tests.controlplane import factories
from tests.controlplane.providers.test_probe import CREDENTIAL, Upstream, provider, upstream

__all__ = ["upstream"]

SYSTEM = factories.SYSTEM
TOY = ProviderKind.OPENAI_COMPATIBLE


@pytest.fixture
def toy(monkeypatch):
    def declare(**otherwise):
        monkeypatch.setitem(KINDS, TOY, replace(KINDS[TOY], **otherwise))

    return declare


def signed(row: Provider, url: ssrf.BaseUrl, credential: Secret) -> int:
    """A test call that is none of a list of models, and is authorized by what it says."""
    fields = {"x-toy-signature": credential.reveal()[::-1].decode()}
    return gate.call("GET", url, path="/whoami", headers=fields).status


def test_a_kind_is_tested_by_its_own_call(db, upstream: Upstream, toy):
    toy(probe=signed)
    assert actions.test_provider(provider(upstream, TOY), by=SYSTEM).ok
    [(path, headers)] = upstream.seen
    assert path == "/whoami"
    assert headers["x-toy-signature"] == CREDENTIAL[::-1]
    assert "authorization" not in headers


def test_what_a_kinds_own_call_cannot_reach_is_said_in_its_words(db, upstream: Upstream, toy):
    def no_token(row: Provider, url: ssrf.BaseUrl, credential: Secret) -> int:
        raise gate.Unreachable("tokens.example.com did not answer within 10 s.")

    toy(probe=no_token)
    outcome = probe.probe(provider(upstream, TOY))
    assert (outcome.ok, outcome.message) == (False, "tokens.example.com did not answer within 10 s.")


def test_a_status_may_mean_something_else_with_a_kind(db, upstream: Upstream, toy):
    toy(verdicts={404: "There is no such project."})
    upstream.status = 404
    assert probe.probe(provider(upstream, TOY)).message == "There is no such project."
    assert "check the base URL" in probe.probe(provider(upstream, ProviderKind.OPENAI)).message


def test_a_kind_cleans_and_checks_its_own_fields_and_the_others_have_none(db, toy):
    def needs_a_version(row: Provider) -> None:
        if not row.api_version:
            raise ValidationError({"api_version": "a toy needs one"})

    toy(own=OwnFields(names=("api_version",), check=needs_a_version, elsewhere={"api_version": "is for toys"}))
    toys: dict[str, Any] = {"kind": TOY, "base_url": "https://toys.example.com"}
    assert factories.provider(**toys, api_version="2024-10-21").api_version == "2024-10-21"
    for fields, words in (
        (toys, "a toy needs one"),
        (toys | {"api_version": "2024-10-21", "deployments": {"m": "d"}}, "for Azure OpenAI"),
        ({"kind": ProviderKind.OPENAI, "api_version": "2024-10-21"}, "for Azure OpenAI"),
    ):
        with pytest.raises(ValidationError, match=words):
            factories.provider(**fields)


def test_no_code_outside_the_slices_asks_which_kind_it_is():
    """Of the control plane's room for providers; the help texts of columns are no question."""
    room = Path(str(providers.__file__)).parent
    asking = [file.name for file in room.glob("*.py") if re.search(r"ProviderKind\.[A-Z]|AZURE", file.read_text())]
    assert asking == []
