"""opencode: any of the four dialects, by the SDK package that its provider entry names; the recipe has two of them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.cli import Case, Cli, HandOut
from tests.clients.recipe import follow

CONFIG = ".config/opencode/opencode.json"
PROVIDERS = {"openai_chat": "aigateway", "anthropic_messages": "aigateway-claude"}
OTHERS = {"openai_responses": ("@ai-sdk/openai", "/v1"), "gemini": ("@ai-sdk/google", "/v1beta")}


def hand_out(base_url: str, key: str, case: Case) -> HandOut:
    """For the dialects that the recipe leaves out, another provider entry in its file."""
    given = follow("opencode", base_url, key, case.model)
    if case.dialect not in OTHERS:
        return given
    config = json.loads(given.files[CONFIG])
    package, path = OTHERS[case.dialect]
    entry = config["provider"]["aigateway"]
    entry |= {"npm": package, "options": entry["options"] | {"baseURL": base_url + path}}
    return HandOut(given.variables, {CONFIG: json.dumps(config)})


def command(program: Path, prompt: str, case: Case, given: HandOut) -> list[str]:
    return [str(program), "run", "--auto", "-m", f"{PROVIDERS.get(case.dialect, 'aigateway')}/{case.model}", prompt]


OPENCODE = Cli(
    name="opencode",
    client="opencode",
    ecosystem="npm",
    package="opencode-ai",
    program="opencode",
    cases=(
        Case("1.18.33", "gpt-4o", "openai_chat"),
        Case("1.18.33", "gpt-5.5", "openai_responses", latest=False),
        Case("1.18.33", "claude-sonnet-4-5", "anthropic_messages", latest=False),
        Case("1.18.33", "gemini-2.5-flash", "gemini", latest=False),
    ),
    hand_out=hand_out,
    command=command,
    alone=("--title", "A title"),
    quiet={
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    },
)
