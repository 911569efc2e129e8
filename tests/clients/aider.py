"""Aider: Chat Completions through litellm; no tools, it edits files from the text of the answer."""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli import Case, Cli, HandOut
from tests.clients.recipe import follow


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    """The recipe; Anthropic Messages is not in it and takes litellm's variables for that."""
    if case.dialect == "openai_chat":
        return follow("aider", base_url, key, case.model)
    variables = {"ANTHROPIC_API_BASE": base_url, "ANTHROPIC_API_KEY": key}
    return HandOut(variables, commands=[["aider", "--model", f"anthropic/{case.model}"]])


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    quiet = ["--no-check-update", "--no-show-model-warnings", "--no-show-release-notes", "--analytics-disable"]
    plain = ["--no-pretty", "--no-fancy-input", "--no-gitignore", "--no-detect-urls", "--no-suggest-shell-commands"]
    return [str(program), *given.command("aider"), "--yes-always", *quiet, *plain, "--message", prompt]


AIDER = Cli(
    name="aider",
    client="openai_python",
    ecosystem="pip",
    package="aider-chat",
    program="aider",
    cases=(
        Case("0.86.2", "gpt-4o", "openai_chat"),
        Case("0.86.2", "claude-sonnet-4-5", "anthropic_messages", latest=False, client="litellm"),
    ),
    hand_out=hand_out,
    command=command,
    quiet={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    tools=False,
    exit_on_error=0,
)
