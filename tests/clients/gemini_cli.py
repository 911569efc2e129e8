"""Gemini CLI: the Gemini API with an API key; the base URL is the root, without a version."""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli import Case, Cli, HandOut
from tests.clients.recipe import follow


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    return follow("gemini-cli", base_url, key, case.model)


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    return [str(program), "-m", case.model, "--skip-trust", "--approval-mode", "yolo", "-p", prompt]


GEMINI_CLI = Cli(
    name="gemini-cli",
    client="gemini_cli",
    ecosystem="npm",
    package="@google/gemini-cli",
    program="gemini",
    cases=(
        Case("0.61.0", "gemini-2.5-flash", "gemini", light=True),
        Case("0.61.0", "gemini-3.1-pro-preview", "gemini", latest=False),
    ),
    hand_out=hand_out,
    command=command,
)
