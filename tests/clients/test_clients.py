"""Published coding CLIs do their work through the gateway, are counted to the token, and stop when their key does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cli import Case, Cli
from tests.clients.gateway import Key, Target
from tests.clients.install import Installed
from tests.clients.registry import name_of, selected
from tests.clients.run import Finished, run

pytestmark = [pytest.mark.clients, pytest.mark.slow]

Install = Callable[[Cli, Case], Installed]
MARKER = "marker-7f3a91"
TASK = f"Please do this: [[sim: write {{work}}/marker.txt {MARKER}]] [[sim: run cat {{work}}/marker.txt]]"
BILLED = ("messages", "chat", "responses", "generate_content", "stream_generate_content")
# In direct mode the provider's own. Claude Code shows its own words instead when a 401 names x-api-key: ours never do.
CLAUDES_OWN = ("Invalid API key", "Not logged in")
NATIVE_WORDS = ("invalid x-api-key", *CLAUDES_OWN, "Incorrect API key", "API key not valid")
# A refused prompt may cost this many requests: side calls of the CLI included, retries of its own to be seen here.
MOST_REFUSED = 8

each_client = pytest.mark.parametrize(("cli", "case"), selected(), ids=[name_of(pair) for pair in selected()])


def ask(cli: Cli, case: Case, installed: Installed, gateway: Target, key: Key, prompt: str, folder: Path) -> Finished:
    return run(cli, case, installed, base_url=gateway.url, key=key.token, prompt=prompt, folder=folder)


def story(finished: Finished, gateway: Target) -> str:
    """What to read when a test failed."""
    seen = [(r["method"], r["target"], r["status"], r["turn"], r["ended"]) for r in gateway.simprovider.requests()]
    said = f"{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"
    return f"exit {finished.exit_code} after {finished.seconds} s\n{said}\nprovider saw {seen}"


@each_client
def test_a_task_with_tools_is_done_and_counted(
    cli: Cli, case: Case, gateway: Target, installed: Install, tmp_path: Path
) -> None:
    key = gateway.key()
    finished = ask(cli, case, installed(cli, case), gateway, key, TASK, tmp_path)

    assert finished.exit_code == 0, story(finished, gateway)
    assert finished.file("marker.txt").strip() == MARKER, story(finished, gateway)
    requests = gateway.simprovider.requests()
    turns = [record for record in requests if record["tools"]] if cli.tools else requests
    assert {record["dialect"] for record in requests} == {case.dialect}
    assert {record["status"] for record in requests} == {200}, story(finished, gateway)
    if cli.tools:
        assert [record["turn"] for record in turns] == [1, 2, 3], story(finished, gateway)
        assert MARKER in finished.said.split("which answered")[-1], (
            "the last turn tells what the tool of the second said"
        )
    assert not any(record["virtual_key_seen"] for record in requests) or gateway.direct
    if not gateway.direct:
        counted_as_the_provider_did(gateway, key, requests, case.client or cli.client)


def counted_as_the_provider_did(gateway: Target, key: Key, requests: list[dict[str, Any]], client: str) -> None:
    billed = {record["request_id"]: record["usage"] for record in requests if record["operation"] in BILLED}
    records = gateway.records(key)
    assert {record["client"] for record in records if record["operation"] in BILLED} == {client}
    ours = sum_units([record["units"] for record in records if record["operation"] in BILLED])
    assert ours == sum_units(list(billed.values()))


def sum_units(usages: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for usage in usages:
        for unit, count in usage.items():
            total[unit] = total.get(unit, 0) + count
    return total


@each_client
def test_a_revoked_key_stops_it_with_the_words(
    cli: Cli, case: Case, gateway: Target, installed: Install, tmp_path: Path
) -> None:
    key = gateway.key()
    gateway.revoke(key)
    gateway.await_refusal(key)
    before = gateway.refusals()

    finished = ask(cli, case, installed(cli, case), gateway, key, "Say hello.", tmp_path)

    assert finished.exit_code is not None, f"it did not stop by itself\n{story(finished, gateway)}"
    if cli.exit_on_error is None:
        assert finished.exit_code != 0, story(finished, gateway)
    else:
        assert finished.exit_code == cli.exit_on_error, story(finished, gateway)
    words = NATIVE_WORDS if gateway.direct else ("revoked",)
    assert any(word in finished.said for word in words), story(finished, gateway)
    refused = gateway.refusals() - before
    assert refused >= 1, story(finished, gateway)
    if not gateway.direct:
        assert refused <= MOST_REFUSED, story(finished, gateway)
        assert gateway.simprovider.requests() == [], "nothing of a revoked key reaches the provider"


@each_client
def test_revoking_in_the_middle_of_an_answer_stops_it(
    cli: Cli, case: Case, gateway: Target, installed: Install, tmp_path: Path
) -> None:
    if gateway.direct:
        pytest.skip("only a gateway can cut a running stream")
    key = gateway.key()
    program = installed(cli, case)
    answers: list[Finished] = []
    gate = f"story-{tmp_path.name}"
    prompt = f"Tell me a story. [[sim: events=50 hold={gate} hold_at=20]]"
    running = threading.Thread(
        target=lambda: answers.append(ask(cli, case, program, gateway, key, prompt, tmp_path)), daemon=True
    )
    running.start()
    try:
        assert gateway.simprovider.wait(held=gate, timeout=100), "the answer began"
        gateway.revoke(key)
        gateway.await_refusal(key)
        before = len(gateway.simprovider.requests())
    finally:
        running.join(150)

    assert answers, "it ended by itself"
    assert answers[0].exit_code is not None, story(answers[0], gateway)
    assert gateway.simprovider.wait(finished=before), "the provider's stream was closed"
    after = gateway.simprovider.requests()
    assert len(after) == before, f"nothing reached the provider after the revocation\n{story(answers[0], gateway)}"
