"""Published coding CLIs at a budget that has run out: they show our sentence, and end by themselves, soon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cli import Case, Cli
from tests.clients.gateway import Key, Target
from tests.clients.test_clients import BILLED, Install, ask, each_client, story

pytestmark = [pytest.mark.clients, pytest.mark.slow]

NOTHING = 1_000  # a millionth of a dollar: less than any request costs
LITTLE = 120_000_000  # twelve cents: a CLI's prompt, and some of a long story
# Ten times as fast as providers write: at any speed a stream runs ahead of the answers about its money.
STORY = ("text_bytes=400000 delta_chars=400 interval_ms=20", LITTLE)
# It takes a sentence that comes again for a loop and leaves; its model costs less.
STORIES = {"gemini-cli": ("events=30000 interval_ms=1", LITTLE // 4)}
WORDS = "is used up"
MOST_REQUESTS = 2
# Beside its prompt it warms up its agents and asks for a title, each once: as many as without a refusal.
MORE_REQUESTS = {"claude-code-2.0.76": 6}
# It names its session by a small model; one that nobody serves is refused before money is looked at.
ASIDE = {"opencode": {"provider_not_reachable"}}


def requests_of(gateway: Target, key: Key) -> list[dict[str, Any]]:
    return [record for record in gateway.records(key) if record["operation"] in BILLED]


@each_client
def test_a_spent_budget_stops_it_with_our_sentence(
    cli: Cli, case: Case, gateway: Target, installed: Install, tmp_path: Path
) -> None:
    if gateway.direct:
        pytest.skip("only a gateway keeps budgets")
    key = gateway.key()
    gateway.limit(key, NOTHING)

    finished = ask(cli, case, installed(cli, case), gateway, key, "Say hello.", tmp_path)

    made = requests_of(gateway, key)
    print(f"\n{cli.name} {case.version}: {len(made)} requests in {finished.seconds} s, exit {finished.exit_code}")
    assert finished.exit_code is not None, f"it did not stop by itself\n{story(finished, gateway)}"
    assert WORDS in finished.said, story(finished, gateway)
    assert "ops@acme.test" in finished.said, story(finished, gateway)
    assert gateway.simprovider.requests() == [], "nothing reaches the provider"
    assert {record["refusal_code"] for record in made} - ASIDE.get(cli.name, set()) == {"budget_exceeded"}
    assert 1 <= len(made) <= MORE_REQUESTS.get(f"{cli.name}-{case.version}", MOST_REQUESTS), story(finished, gateway)


@each_client
def test_a_budget_that_runs_out_in_the_middle_of_an_answer_ends_it_with_our_sentence(
    cli: Cli, case: Case, gateway: Target, installed: Install, tmp_path: Path
) -> None:
    if gateway.direct:
        pytest.skip("only a gateway keeps budgets")
    key = gateway.key()
    marker, little = STORIES.get(cli.name, STORY)
    prompt = f"Tell me a story. [[sim: {marker}]]"
    # Or a request for a title is told the story too, and may have the money of both.
    cli = replace(cli, command=lambda *given, whole=cli.command: [*whole(*given), *cli.alone])
    first = ask(cli, case, installed(cli, case), gateway, key, "Say hello.", tmp_path / "before")
    assert first.exit_code == 0, story(first, gateway)
    before = requests_of(gateway, key)
    gateway.limit(key, little + 2 * max([record["cost_nano"] for record in before], default=0))

    finished = ask(cli, case, installed(cli, case), gateway, key, prompt, tmp_path / "after")

    after = requests_of(gateway, key)
    cuts = [record for record in after if record["outcome"] == "cut"]
    print(
        f"\n{cli.name} {case.version}: {len(before)} requests for a hello, {len(after) - len(before)} for the story, "
        f"{len(cuts)} cut, {finished.seconds} s"
    )
    assert finished.exit_code is not None, f"it did not stop by itself\n{story(finished, gateway)}"
    assert cuts, story(finished, gateway)
    assert WORDS in finished.said, story(finished, gateway)
