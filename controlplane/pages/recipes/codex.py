"""Codex CLI: a provider of its own in config.toml, over the Responses API."""

from __future__ import annotations

from controlplane.pages.recipes.recipe import GPT, CliTarget, Recipe, Setup, Snippet, exports, string


def setup(target: CliTarget) -> Setup:
    config = f"""\
model = {string(target.model(GPT, "gpt-5.5"))}
model_provider = "aigateway"

[model_providers.aigateway]
name = "AI Gateway"
base_url = {string(target.gateway_url + "/v1")}
env_key = "AIGATEWAY_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0"""
    return Setup(
        snippets=(
            Snippet("~/.codex/config.toml, at the top: model and model_provider stay above every [table]", config),
            Snippet("Shell, then run codex", exports(AIGATEWAY_API_KEY=target.token)),
        ),
        notes=(
            "With the two retry settings a refusal shows after one request; without them after six, or thirty when a "
            "provider is down.",
        ),
    )


RECIPE = Recipe("codex", "Codex", "0.122, 0.169", setup)
