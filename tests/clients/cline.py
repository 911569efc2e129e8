"""Cline: Chat Completions after `cline auth`; it leaves a hub daemon behind, which the harness ends."""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli import Case, Cli, HandOut
from tests.clients.recipe import follow

PROVIDER = "openai-compatible"


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    return follow("cline", base_url, key, case.model)


def sign_in(program: Path, given: HandOut) -> list[list[str]]:
    return [[str(program), "auth", *given.command("cline", "auth")]]


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    return [str(program), "-P", PROVIDER, "-m", case.model, "--auto-approve", "true", prompt]


CLINE = Cli(
    name="cline",
    client="ai_sdk",
    ecosystem="npm",
    package="cline",
    program="cline",
    cases=(Case("3.0.65", "gpt-4o", "openai_chat"),),
    hand_out=hand_out,
    command=command,
    before=sign_in,
    quiet={"CLINE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "CLINE_NO_AUTO_UPDATE": "1"},
)
