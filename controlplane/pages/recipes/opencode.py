"""opencode: one custom provider per API in opencode.json, the key from the environment."""

from __future__ import annotations

import json

from controlplane.pages.recipes.recipe import CLAUDE, GPT, CliTarget, Recipe, Setup, Snippet, exports, quoted


def provider(package: str, name: str, base_url: str, model: str) -> dict[str, object]:
    return {
        "npm": package,
        "name": name,
        "options": {"baseURL": base_url, "apiKey": "{env:AIGATEWAY_API_KEY}"},
        "models": {model: {"name": model}},
    }


def setup(target: CliTarget) -> Setup:
    gpt, claude = target.model(GPT, "gpt-5.5"), target.model(CLAUDE, "claude-sonnet-5-5")
    base_url = target.gateway_url + "/v1"
    config = {
        "$schema": "https://opencode.ai/config.json",
        "model": f"aigateway/{gpt}",
        "small_model": f"aigateway/{gpt}",
        "provider": {
            "aigateway": provider("@ai-sdk/openai-compatible", "AI Gateway", base_url, gpt),
            "aigateway-claude": provider("@ai-sdk/anthropic", "AI Gateway (Claude)", base_url, claude),
        },
    }
    run = f"opencode run -m {quoted(f'aigateway/{gpt}')} 'say hello'"
    return Setup(
        snippets=(
            Snippet("opencode.json in the project, or ~/.config/opencode/opencode.json", json.dumps(config, indent=2)),
            Snippet("Shell", f"{exports(AIGATEWAY_API_KEY=target.token)}\n{run}"),
        ),
        notes=("small_model names the model for titles; leave it on a model that this key may use.",),
    )


RECIPE = Recipe("opencode", "opencode", "1.18", setup)
