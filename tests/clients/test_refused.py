"""Published coding CLIs whose provider refuses the organization's credential: they show our sentence and stop, soon,
and none of them sends its user to a login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cli import Case, Cli
from tests.clients.gateway import VENDORS, Target
from tests.clients.test_budgets import MORE_REQUESTS, MOST_REQUESTS, requests_of
from tests.clients.test_clients import Install, ask, each_client, story

pytestmark = [pytest.mark.clients, pytest.mark.slow]

WORDS = "the organization's key for '"
LOGIN = ("/login", "Not logged in", "Please run", "auth login")


@pytest.fixture
def refusing(gateway: Target) -> Iterator[Target]:
    """In front of providers that know another credential."""
    if gateway.direct:
        pytest.skip("only a gateway has a credential of its own")
    gateway.simprovider.keys(**dict.fromkeys(VENDORS, "sk-another"))
    yield gateway
    gateway.simprovider.keys()


@each_client
def test_a_refused_credential_of_the_organization_stops_it_with_our_sentence(
    cli: Cli, case: Case, refusing: Target, installed: Install, tmp_path: Path
) -> None:
    key = refusing.key()

    finished = ask(cli, case, installed(cli, case), refusing, key, "Say hello.", tmp_path)

    made = requests_of(refusing, key)
    print(f"\n{cli.name} {case.version}: {len(made)} requests in {finished.seconds} s, exit {finished.exit_code}")
    assert finished.exit_code is not None, f"it did not stop by itself\n{story(finished, refusing)}"
    said = finished.said.replace("\\'", "'")  # Aider shows bytes as Python writes them
    assert WORDS in said, story(finished, refusing)
    assert not [words for words in LOGIN if words in said], story(finished, refusing)
    assert "provider_credential_refused" in {record["refusal_code"] for record in made}
    assert {record["cost_nano"] for record in made} == {0}
    assert 1 <= len(made) <= MORE_REQUESTS.get(f"{cli.name}-{case.version}", MOST_REQUESTS), story(finished, refusing)
