"""Claude Code: Anthropic Messages with a bearer token; 2.0.76 is pure JavaScript and small, later ones are native."""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli import Case, Cli, HandOut
from tests.clients.recipe import follow


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    return follow("claude-code", base_url, key, case.model)


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    allowed = ["--permission-mode", "acceptEdits", "--allowedTools", "Bash,Write,Edit,Read"]
    return [str(program), "-p", prompt, "--model", case.model, *allowed]


CLAUDE_CODE = Cli(
    name="claude-code",
    client="claude_code",
    ecosystem="npm",
    package="@anthropic-ai/claude-code",
    program="claude",
    cases=(
        Case("2.0.76", "claude-haiku-4-5", "anthropic_messages", light=True, latest=False),
        Case("2.1.330", "claude-haiku-4-5", "anthropic_messages"),
        Case("2.1.330", "claude-sonnet-5-5", "anthropic_messages", latest=False),
    ),
    hand_out=hand_out,
    command=command,
    quiet={
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
    },
)
