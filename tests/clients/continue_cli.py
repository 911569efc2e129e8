"""Continue: Chat Completions, or Responses for gpt-5 models whatever the base URL."""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli import Case, Cli, HandOut
from tests.clients.recipe import follow


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    return follow("continue", base_url, key, case.model)


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    return [str(program), "--auto", "-p", prompt]


CONTINUE = Cli(
    name="continue",
    client="continue",
    ecosystem="npm",
    package="@continuedev/cli",
    program="cn",
    cases=(
        Case("1.5.47", "gpt-4o", "openai_chat"),
        Case("1.5.47", "gpt-5.5", "openai_responses", latest=False),
    ),
    hand_out=hand_out,
    command=command,
    quiet={"CONTINUE_TELEMETRY_ENABLED": "0", "CONTINUE_METRICS_ENABLED": "0"},
)
