"""Codex: OpenAI Responses through a provider table of its own; with gpt-6 it reaches the shell from JavaScript."""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli import PROXIES, Case, Cli, HandOut
from tests.clients.recipe import follow


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    return follow("codex", base_url, key, case.model)


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    return [
        str(program),
        "exec",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        prompt,
    ]


CODEX = Cli(
    name="codex",
    client="codex",
    ecosystem="npm",
    package="@openai/codex",
    program="codex",
    cases=(
        Case("0.169.0", "gpt-5.5", "openai_responses"),
        Case("0.169.0", "gpt-6.1-sol", "openai_responses"),
        Case("0.122.0", "gpt-5-codex", "openai_responses", latest=False),
    ),
    hand_out=hand_out,
    command=command,
    quiet=PROXIES,
)
