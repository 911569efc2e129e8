"""Qwen Code: Chat Completions by three variables."""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli import Case, Cli, HandOut
from tests.clients.recipe import follow


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    return follow("qwen-code", base_url, key, case.model)


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    return [str(program), "--auth-type", "openai", "--approval-mode", "yolo", "-p", prompt]


QWEN_CODE = Cli(
    name="qwen-code",
    client="qwen_code",
    ecosystem="npm",
    package="@qwen-code/qwen-code",
    program="qwen",
    cases=(Case("0.24.4", "gpt-4o", "openai_chat"),),
    hand_out=hand_out,
    command=command,
)
