"""All CLIs, and the sets in which they are run: AIGATEWAY_TEST_CLIENTS is `light`, `all` or `latest`."""

from __future__ import annotations

import os
from dataclasses import replace

from tests.clients.aider import AIDER
from tests.clients.claude_code import CLAUDE_CODE
from tests.clients.cli import Case, Cli
from tests.clients.cline import CLINE
from tests.clients.codex import CODEX
from tests.clients.continue_cli import CONTINUE
from tests.clients.gemini_cli import GEMINI_CLI
from tests.clients.opencode import OPENCODE
from tests.clients.qwen_code import QWEN_CODE

CLIS = (CLAUDE_CODE, CODEX, GEMINI_CLI, OPENCODE, AIDER, QWEN_CODE, CLINE, CONTINUE)


def selected(which: str = "") -> list[tuple[Cli, Case]]:
    """The cases of a set; `latest` takes the newest published version of each CLI."""
    which = which or os.environ.get("AIGATEWAY_TEST_CLIENTS", "light")
    pairs = [(cli, case) for cli in CLIS for case in cli.cases]
    if which == "light":
        return [(cli, case) for cli, case in pairs if case.light]
    if which == "latest":
        return [(cli, replace(case, version="latest")) for cli, case in pairs if case.latest]
    if which == "all":
        return pairs
    raise ValueError(f"AIGATEWAY_TEST_CLIENTS is light, all or latest, not {which!r}")


def name_of(pair: tuple[Cli, Case]) -> str:
    cli, case = pair
    return f"{cli.name}-{case.version}-{case.dialect}-{case.model}"
