"""Claude Code: two variables; the retry cap keeps a refusal from looking like a hang."""

from __future__ import annotations

import json

from controlplane.pages.recipes.recipe import CliTarget, Recipe, Setup, Snippet, exports


def setup(target: CliTarget) -> Setup:
    variables = {
        "ANTHROPIC_BASE_URL": target.gateway_url,
        "ANTHROPIC_AUTH_TOKEN": target.token,
        "CLAUDE_CODE_MAX_RETRIES": "2",
    }
    return Setup(
        snippets=(
            Snippet("Shell, then run claude", exports(**variables)),
            Snippet("Or for good, in ~/.claude/settings.json", json.dumps({"env": variables}, indent=2)),
        ),
        notes=(
            "The base URL has no /v1 at its end.",
            "Without CLAUDE_CODE_MAX_RETRIES an outage is retried silently for up to three minutes.",
            "Add CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY=1 to see the models of this key in /model.",
        ),
    )


RECIPE = Recipe("claude-code", "Claude Code", "2.0.76, 2.1.330", setup)
